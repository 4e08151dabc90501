import { createCipheriv, createDecipheriv, createSecretKey, randomBytes, scrypt, type KeyObject } from 'node:crypto'
import { isAge, Keyring, KeyringError } from './keyring.ts'

/*
 * An encrypted backup of a keyring: under a passphrase, in Sealgate's own format, or for recipients of age. STORED DATA: every number here is part of
 * the format (docs/FORMAT.md, Backup of a keyring).
 */
const MAGIC = Buffer.from('sealgate-keys-1\n', 'latin1')
const COST_OFFSET = 16
const SALT_OFFSET = 17
const HEADER_BYTES = 49
const TAG_BYTES = 16
const NONCE = Buffer.alloc(12)
/** 2^17 with r = 8 takes 128 MiB and some tenths of a second: OWASP's recommendation for scrypt. */
const DEFAULT_COST = 17
/** A reader accepts 16 MiB to 1 GiB, so that a forged header cannot demand all memory. */
const MIN_COST = 14
const MAX_COST = 20
const MAX_BACKUP_BYTES = 1 << 21
/** The first bytes of every serialised keyring. */
const KEYRING_START = '{\n'

/** Shorter passphrases can be guessed at any scrypt cost. Bytes of UTF-8. */
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
  const plaintext = keyring.serialize()
  try {
    const cipher = createCipheriv('aes-256-gcm', key, NONCE, { authTagLength: TAG_BYTES }).setAAD(header)
    return Buffer.concat([header, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
  } finally {
    plaintext.fill(0)
  }
}

/** Opens a backup. @throws KeyringError when it is not a backup, damaged or cut, or the passphrase is wrong. */
export async function openBackup(backup: Buffer, passphrase: Buffer): Promise<Keyring> {
  const cost = backup[COST_OFFSET] ?? 0
  if (isAgeBackup(backup)) throw new KeyringError('The backup is encrypted with age: name the identity with --age-identity FILE.')
  if (backup.length > MAX_BACKUP_BYTES || !backup.subarray(0, COST_OFFSET).equals(MAGIC)) {
    throw new KeyringError('This is not a keyring backup of a known version.')
  }
  if (backup.length < HEADER_BYTES + TAG_BYTES) throw new KeyringError('The backup is cut.')
  if (cost < MIN_COST || cost > MAX_COST) throw new KeyringError('The backup names a scrypt cost outside 14 to 20.')
  const header = backup.subarray(0, HEADER_BYTES)
  const key = await deriveKey(passphrase, header.subarray(SALT_OFFSET), cost)
  const decipher = createDecipheriv('aes-256-gcm', key, NONCE, { authTagLength: TAG_BYTES }).setAAD(header)
  decipher.setAuthTag(backup.subarray(backup.length - TAG_BYTES))
  const plaintext = decipher.update(backup.subarray(HEADER_BYTES, backup.length - TAG_BYTES))
  try {
    decipher.final()
  } catch (error) {
    // The beginning of the text distinguishes a damaged backup from a wrong passphrase. It has no other use.
    const known = plaintext.toString('latin1', 0, KEYRING_START.length) === KEYRING_START
    plaintext.fill(0)
    const why = known ? 'the passphrase is right, but the backup is damaged or cut' : 'the passphrase is wrong, or the backup is damaged'
    throw new KeyringError(`The backup does not open: ${why}.`, { cause: error })
  }
  return Keyring.parse(plaintext)
}

/**
 * Encrypts a keyring for recipients of age (age-encryption.org), armored: text that can be printed. The `age` program opens it.
 * @param recipients public keys, `age1…`. @throws KeyringError for an invalid one.
 */
export async function sealForAge(keyring: Keyring, recipients: readonly string[]): Promise<Buffer> {
  const { armor, Encrypter } = await import('age-encryption')
  const encrypter = new Encrypter()
  for (const recipient of recipients) {
    try {
      encrypter.addRecipient(recipient)
    } catch (error) {
      throw new KeyringError(`${recipient} is not a recipient of age: one begins with "age1".`, { cause: error })
    }
  }
  const plaintext = keyring.serialize()
  try {
    return Buffer.from(armor.encode(await encrypter.encrypt(plaintext)))
  } finally {
    plaintext.fill(0)
  }
}

/**
 * Opens what `sealForAge` or the `age` program made.
 * @param identities an identity file of age: a secret key in each line, `#` before remarks.
 * @throws KeyringError when there is no identity, none fits, or the backup is damaged or not of age.
 */
export async function openFromAge(backup: Buffer, identities: string): Promise<Keyring> {
  const { armor, Decrypter } = await import('age-encryption')
  if (backup.length > MAX_BACKUP_BYTES || !isAgeBackup(backup)) throw new KeyringError('This backup is not encrypted with age.')
  const decrypter = new Decrypter()
  const keys = identities.split(/\r?\n/).filter((line) => line !== '' && !line.startsWith('#'))
  try {
    for (const key of keys) decrypter.addIdentity(key)
  } catch {
    // The library's message may quote the key.
    throw new KeyringError('The identity file holds a line that is not a secret key of age (AGE-SECRET-KEY-1…).')
  }
  if (keys.length === 0) throw new KeyringError('The identity file holds no secret key of age (AGE-SECRET-KEY-1…).')
  const text = backup.toString('latin1')
  let plaintext: Uint8Array
  try {
    plaintext = await decrypter.decrypt(text.startsWith('age-') ? backup : armor.decode(text))
  } catch (error) {
    throw new KeyringError('The backup does not open: it is not for this identity, or damaged.', { cause: error })
  }
  return Keyring.parse(Buffer.from(plaintext.buffer, plaintext.byteOffset, plaintext.byteLength))
}

function isAgeBackup(backup: Buffer): boolean {
  return isAge(backup.toString('latin1', 0, 64))
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
