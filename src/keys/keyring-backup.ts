import { createCipheriv, createDecipheriv, createSecretKey, randomBytes, scrypt, type KeyObject } from 'node:crypto'
import { Keyring, KeyringError } from './keyring.ts'

/*
 * An encrypted backup of a keyring. STORED DATA: every number here is part of the format.
 *
 *   offset  bytes  content
 *        0     16  "sealgate-keys-1" and a line feed
 *       16      1  log2 of the scrypt cost N (r = 8, p = 1; RFC 7914)
 *       17     32  salt, random
 *       49      n  AES-256-GCM ciphertext of the keyring file as it stands on disk
 *     49+n     16  GCM tag
 *
 *   key = scrypt(passphrase, salt, N, r = 8, p = 1, 32 bytes); nonce = 12 zero bytes (the salt makes every key single-use);
 *   AAD = the first 49 bytes.
 */
const MAGIC = Buffer.from('sealgate-keys-1\n', 'latin1')
const COST_OFFSET = 16
const SALT_OFFSET = 17
const HEADER_BYTES = 49
const TAG_BYTES = 16
const NONCE = Buffer.alloc(12)
/** 2^17 with r = 8 takes 128 MiB and some tenths of a second: what OWASP recommends for scrypt. */
const DEFAULT_COST = 17
/** A reader takes 16 MiB to 1 GiB, so that a forged header cannot ask for all memory. */
const MIN_COST = 14
const MAX_COST = 20
const MAX_BACKUP_BYTES = 1 << 21

/** Shorter passphrases fall to guessing whatever the cost. Bytes of UTF-8. */
export const MIN_PASSPHRASE_BYTES = 12

/**
 * Encrypts a keyring for keeping elsewhere.
 * @param cost log2 of the scrypt cost, 14 to 20. Only tests have a reason to lower it.
 * @throws KeyringError when the passphrase is shorter than 12 bytes.
 */
export async function sealBackup(keyring: Keyring, passphrase: Buffer, cost = DEFAULT_COST): Promise<Buffer> {
  if (passphrase.length < MIN_PASSPHRASE_BYTES) {
    throw new KeyringError(`The passphrase must have at least ${MIN_PASSPHRASE_BYTES} bytes.`)
  }
  const header = Buffer.concat([MAGIC, Buffer.from([cost]), randomBytes(HEADER_BYTES - SALT_OFFSET)])
  const key = await deriveKey(passphrase, header.subarray(SALT_OFFSET), cost)
  const clear = keyring.serialize()
  try {
    const cipher = createCipheriv('aes-256-gcm', key, NONCE, { authTagLength: TAG_BYTES }).setAAD(header)
    return Buffer.concat([header, cipher.update(clear), cipher.final(), cipher.getAuthTag()])
  } finally {
    clear.fill(0)
  }
}

/** Opens a backup. @throws KeyringError when it is not a backup, damaged, or the passphrase is wrong (one text for both). */
export async function openBackup(backup: Buffer, passphrase: Buffer): Promise<Keyring> {
  const cost = backup[COST_OFFSET] ?? 0
  if (backup.length < HEADER_BYTES + TAG_BYTES || backup.length > MAX_BACKUP_BYTES || !backup.subarray(0, COST_OFFSET).equals(MAGIC)) {
    throw new KeyringError('This is not a keyring backup of a known version.')
  }
  if (cost < MIN_COST || cost > MAX_COST) throw new KeyringError('The backup names a scrypt cost outside 14 to 20.')
  const header = backup.subarray(0, HEADER_BYTES)
  const key = await deriveKey(passphrase, header.subarray(SALT_OFFSET), cost)
  const decipher = createDecipheriv('aes-256-gcm', key, NONCE, { authTagLength: TAG_BYTES }).setAAD(header)
  decipher.setAuthTag(backup.subarray(backup.length - TAG_BYTES))
  const clear = decipher.update(backup.subarray(HEADER_BYTES, backup.length - TAG_BYTES))
  try {
    decipher.final()
  } catch (error) {
    clear.fill(0)
    throw new KeyringError('The backup does not open: the passphrase is wrong or the file is damaged.', { cause: error })
  }
  return Keyring.parse(clear)
}

async function deriveKey(passphrase: Buffer, salt: Buffer, cost: number): Promise<KeyObject> {
  const N = 2 ** cost
  const bytes = await new Promise<Buffer>((resolve, reject) => {
    // scrypt needs 128 * N * r bytes; Node's default ceiling of 32 MiB is below that.
    scrypt(passphrase, salt, 32, { N, r: 8, p: 1, maxmem: 1024 * N + (1 << 20) }, (error, key) => {
      if (error === null) resolve(key)
      else reject(error)
    })
  })
  const key = createSecretKey(bytes)
  bytes.fill(0)
  return key
}
