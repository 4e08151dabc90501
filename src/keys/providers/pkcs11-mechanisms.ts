import { randomBytes, timingSafeEqual } from 'node:crypto'
import { unwrap, wrap, WRAP_OVERHEAD } from '../../envelope/data-key.ts'
import { EnvelopeError } from '../../envelope/encoding.ts'
import { KEY_BYTES, takeKey } from '../key-material.ts'
import { called, numbers, Pkcs11Failure, type Handle, type Pkcs11 } from './pkcs11-binding.ts'

/** A key in the session in which it can be used. */
interface UsableKey {
  readonly module: Pkcs11
  readonly session: Handle
  readonly key: Handle
}

/** A way to wrap 32 bytes with a key that stays in the token. The layouts of the blobs are in docs/FORMAT.md (Key providers). */
export interface Mechanism {
  /** CKA_KEY_TYPE of keys that can do it. */
  readonly keyTypes: readonly number[]
  /** @returns the blob, which was opened again. @throws Pkcs11Failure */
  seal(key: UsableKey, plaintext: Buffer, aad: Buffer): Buffer
  /** @returns 32 bytes. @throws Pkcs11Failure WrongContext for what this key and AAD did not seal. */
  open(key: UsableKey, blob: Buffer, aad: Buffer): Buffer
}

const TAG_BYTES = 16
const IV_BYTES = 12
const AES_GCM = 1
const HMAC = 2

/** Codes of a decryption that fails because of its input; modules also give those of `either` for it, and for their own trouble. */
const ofInput = new Set(['CKR_ENCRYPTED_DATA_INVALID', 'CKR_AEAD_DECRYPT_FAILED'])
const either = new Set([
  'CKR_GENERAL_ERROR',
  'CKR_FUNCTION_FAILED',
  'CKR_DEVICE_ERROR',
  'CKR_ARGUMENTS_BAD',
  'CKR_DATA_INVALID',
  'CKR_DATA_LEN_RANGE',
  'CKR_ENCRYPTED_DATA_LEN_RANGE',
  'CKR_MECHANISM_PARAM_INVALID'
])

/**
 * AES-256-GCM in the token. Some modules take the IV from the caller; some write their own into the parameter (AWS CloudHSM), of these some only where
 * the caller's is zeros; some append it to the output (Thales Luna in FIPS mode). All are told apart by what they do: a setting could be wrong.
 */
class AesGcm implements Mechanism {
  readonly keyTypes = [numbers.aes]
  /** The module was seen to refuse an IV of the caller. */
  #wantsZeros = false

  seal(key: UsableKey, plaintext: Buffer, aad: Buffer): Buffer {
    const [iv, sealed] = this.#encrypt(key, plaintext, aad)
    // A second call, so that no object is written under a blob that does not open, whatever the module did with the IV.
    const opened = decrypt(key, iv, sealed, aad)
    const good = opened.length === plaintext.length && timingSafeEqual(opened, plaintext) && !sealed.includes(plaintext)
    opened.fill(0)
    if (!good) throw new Pkcs11Failure('WrongAnswer', 'C_Encrypt')
    return Buffer.concat([Buffer.of(AES_GCM, iv.length), iv, sealed])
  }

  open(key: UsableKey, blob: Buffer, aad: Buffer): Buffer {
    const ivBytes = blob[1] ?? 0
    if (blob[0] !== AES_GCM || ivBytes < IV_BYTES || blob.length !== 2 + ivBytes + KEY_BYTES + TAG_BYTES) throw wrongContext()
    try {
      return decrypt(key, blob.subarray(2, 2 + ivBytes), blob.subarray(2 + ivBytes), aad)
    } catch (error) {
      if (!(error instanceof Pkcs11Failure)) throw error
      if (ofInput.has(error.code) || (either.has(error.code) && this.#works(key))) throw wrongContext()
      throw error
    }
  }

  /** True when the key wraps and unwraps something else, or is refused for wrapping only: then the input was at fault. */
  #works(key: UsableKey): boolean {
    const probe = randomBytes(KEY_BYTES)
    try {
      this.seal(key, probe, Buffer.from('sealgate/v1/pkcs11-probe'))
      return true
    } catch (error) {
      return error instanceof Pkcs11Failure && error.code === 'CKR_KEY_FUNCTION_NOT_PERMITTED'
    }
  }

  #encrypt(key: UsableKey, plaintext: Buffer, aad: Buffer): [iv: Buffer, sealed: Buffer] {
    try {
      return encrypt(key, this.#wantsZeros ? Buffer.alloc(IV_BYTES) : randomBytes(IV_BYTES), plaintext, aad)
    } catch (error) {
      const refused = error instanceof Pkcs11Failure && ['CKR_MECHANISM_PARAM_INVALID', 'CKR_ARGUMENTS_BAD'].includes(error.code)
      if (!refused || this.#wantsZeros) throw error
      const result = encrypt(key, Buffer.alloc(IV_BYTES), plaintext, aad)
      this.#wantsZeros = true
      return result
    }
  }
}

/**
 * HMAC-SHA-256 in the token gives a key for each wrap, and AES-256-GCM under it is done here: for tokens without AES-GCM, such as YubiHSM 2. No module
 * chooses anything, so that nothing but the size of the answer can be wrong without being noticed at once.
 */
class Hmac implements Mechanism {
  readonly keyTypes = [numbers.genericSecret, numbers.sha256Hmac]

  seal(key: UsableKey, plaintext: Buffer, aad: Buffer): Buffer {
    const salt = randomBytes(KEY_BYTES)
    const blob = Buffer.concat([Buffer.of(HMAC), salt, wrap(keyFor(key, salt), plaintext, aad)])
    // The second call shows that the token gives the same key again.
    const opened = this.open(key, blob, aad)
    const good = timingSafeEqual(opened, plaintext)
    opened.fill(0)
    if (!good) throw new Pkcs11Failure('WrongAnswer', 'C_Sign')
    return blob
  }

  open(key: UsableKey, blob: Buffer, aad: Buffer): Buffer {
    if (blob[0] !== HMAC || blob.length !== 1 + KEY_BYTES + KEY_BYTES + WRAP_OVERHEAD) throw wrongContext()
    const kek = keyFor(key, blob.subarray(1, 1 + KEY_BYTES))
    try {
      return unwrap(kek, blob.subarray(1 + KEY_BYTES), aad)
    } catch (error) {
      throw error instanceof EnvelopeError ? wrongContext() : error
    }
  }
}

export type MechanismName = 'aes-gcm' | 'hmac-sha256'

/** A mechanism learns what its module does, so each token has its own. */
export const mechanisms: Readonly<Record<MechanismName, () => Mechanism>> = { 'aes-gcm': () => new AesGcm(), 'hmac-sha256': () => new Hmac() }

/** @returns the IV that was used, whoever made it, and ciphertext ‖ tag. */
function encrypt({ module, session, key }: UsableKey, iv: Buffer, plaintext: Buffer, aad: Buffer): [iv: Buffer, sealed: Buffer] {
  called('C_EncryptInit', () => {
    module.C_EncryptInit(session, gcm(iv, aad), key)
  })
  const output = called('C_Encrypt', () => module.C_Encrypt(session, plaintext, Buffer.alloc(plaintext.length + TAG_BYTES + TAG_BYTES)))
  const sealed = Buffer.from(output.subarray(0, plaintext.length + TAG_BYTES))
  const appended = Buffer.from(output.subarray(plaintext.length + TAG_BYTES))
  const used = appended.length > 0 ? appended : Buffer.from(iv)
  const possible = sealed.length === plaintext.length + TAG_BYTES && used.length >= IV_BYTES && used.some((byte) => byte !== 0)
  if (!possible) throw new Pkcs11Failure('WrongAnswer', 'C_Encrypt')
  return [used, sealed]
}

function decrypt({ module, session, key }: UsableKey, iv: Buffer, sealed: Buffer, aad: Buffer): Buffer {
  called('C_DecryptInit', () => {
    module.C_DecryptInit(session, gcm(iv, aad), key)
  })
  const output = Buffer.alloc(sealed.length)
  const opened = Buffer.from(called('C_Decrypt', () => module.C_Decrypt(session, sealed, output)))
  output.fill(0)
  if (opened.length !== sealed.length - TAG_BYTES) throw new Pkcs11Failure('WrongAnswer', 'C_Decrypt')
  return opened
}

/** CK_GCM_PARAMS. The module may write an IV of its own into `iv`. */
function gcm(iv: Buffer, aad: Buffer) {
  return {
    mechanism: numbers.aesGcm,
    parameter: { type: numbers.gcmParameter, iv, ivBits: iv.length * 8, aad, tagBits: TAG_BYTES * 8 }
  }
}

/** A key for one wrap. The AAD is bound by the AES-GCM under it. */
function keyFor({ module, session, key }: UsableKey, salt: Buffer) {
  const text = Buffer.concat([Buffer.from('sealgate/v1/pkcs11-hmac', 'ascii'), salt])
  called('C_SignInit', () => {
    module.C_SignInit(session, { mechanism: numbers.sha256HmacMechanism }, key)
  })
  const kek = takeKey(called('C_Sign', () => module.C_Sign(session, text, Buffer.alloc(KEY_BYTES * 2))))
  if (kek === null) throw new Pkcs11Failure('WrongAnswer', 'C_Sign')
  return kek
}

function wrongContext(): Pkcs11Failure {
  return new Pkcs11Failure('WrongContext', 'C_Decrypt')
}
