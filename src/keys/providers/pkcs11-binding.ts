import { createRequire } from 'node:module'

/** A handle of PKCS#11 as pkcs11js has it: the bytes of a CK_ULONG. */
export type Handle = Buffer

interface Attribute {
  readonly type: number
  readonly value?: Buffer | number | boolean | string
}

interface Mechanism {
  readonly mechanism: number
  readonly parameter?: Readonly<Record<string, Buffer | number>>
}

/** The functions of the package pkcs11js that are used, so that neither types nor tests need the package. All of them wait for the module. */
export interface Pkcs11 {
  load(path: string): void
  C_Initialize(): void
  C_Finalize(): void
  C_GetSlotList(tokenPresent: boolean): Handle[]
  C_GetTokenInfo(slot: Handle): { readonly label: string; readonly serialNumber: string; readonly flags: number }
  C_OpenSession(slot: Handle, flags: number): Handle
  C_CloseSession(session: Handle): void
  C_Login(session: Handle, userType: number, pin: string): void
  C_FindObjectsInit(session: Handle, template: readonly Attribute[]): void
  C_FindObjects(session: Handle, most: number): Handle[]
  C_FindObjectsFinal(session: Handle): void
  C_DestroyObject(session: Handle, object: Handle): void
  C_GetAttributeValue(session: Handle, object: Handle, template: readonly Attribute[]): readonly { readonly type: number; readonly value: Buffer }[]
  C_EncryptInit(session: Handle, mechanism: Mechanism, key: Handle): void
  /** @returns the part of `output` that was written. */
  C_Encrypt(session: Handle, input: Buffer, output: Buffer): Buffer
  C_DecryptInit(session: Handle, mechanism: Mechanism, key: Handle): void
  C_Decrypt(session: Handle, input: Buffer, output: Buffer): Buffer
  C_SignInit(session: Handle, mechanism: Mechanism, key: Handle): void
  C_Sign(session: Handle, input: Buffer, output: Buffer): Buffer
}

/** Numbers of PKCS#11 2.40 and 3.0 (OASIS, pkcs11t.h); `gcmParameter` is pkcs11js's name for CK_GCM_PARAMS with ulIvBits. */
export const numbers = {
  serialSession: 4,
  readWriteSession: 2,
  user: 1,
  secretKey: 4,
  aes: 0x1f,
  genericSecret: 0x10,
  sha256Hmac: 0x2b,
  pinFinalTry: 0x20000,
  pinLocked: 0x40000,
  aesGcm: 0x1087,
  sha256HmacMechanism: 0x251,
  gcmParameter: 7
} as const

/** Attributes of a key (CKA_*). */
export const attributes = {
  class: 0,
  label: 3,
  keyType: 0x100,
  id: 0x102,
  sensitive: 0x103,
  encrypt: 0x104,
  decrypt: 0x105,
  sign: 0x108,
  valueLength: 0x161,
  extractable: 0x162
} as const

/** @param specifier of the package, or of a module in its place. @throws Pkcs11Failure PackageMissing. */
export function loadBinding(specifier: string): Pkcs11 {
  try {
    const { PKCS11 } = createRequire(import.meta.url)(specifier) as { readonly PKCS11: new() => Pkcs11 }
    return new PKCS11()
  } catch {
    throw new Pkcs11Failure('PackageMissing', `load ${specifier === PACKAGE ? PACKAGE : 'a binding'}`)
  }
}

/** The optional dependency with the native code. */
export const PACKAGE = 'pkcs11js'

/** A call of the module that failed. Says which call and with which code, and nothing that was passed to it. */
export class Pkcs11Failure extends Error {
  /** Name of a CKR_* code, or one of the gateway's own without this prefix. */
  readonly code: string
  /** The function of PKCS#11, such as C_Login. */
  readonly call: string

  constructor(code: string, call: string) {
    super(`${call}: ${code}`)
    this.name = 'Pkcs11Failure'
    this.code = code
    this.call = call
  }
}

/** Calls the module. @throws Pkcs11Failure, which quotes nothing of the module but the number of its error. */
export function called<T>(call: string, work: () => T): T {
  try {
    return work()
  } catch (error) {
    const code = error instanceof Error && 'code' in error && typeof error.code === 'number' ? error.code : null
    throw new Pkcs11Failure(code === null ? 'ModuleUnloadable' : codeNames[code] ?? `CKR_0x${code.toString(16)}`, call)
  }
}

/** Return values (OASIS, pkcs11t.h) that the gateway tells apart, or that an operator will want to read as a word. */
const codeNames: Readonly<Record<number, string>> = {
  0x2: 'CKR_HOST_MEMORY',
  0x3: 'CKR_SLOT_ID_INVALID',
  0x5: 'CKR_GENERAL_ERROR',
  0x6: 'CKR_FUNCTION_FAILED',
  0x7: 'CKR_ARGUMENTS_BAD',
  0x12: 'CKR_ATTRIBUTE_TYPE_INVALID',
  0x1b: 'CKR_ACTION_PROHIBITED',
  0x20: 'CKR_DATA_INVALID',
  0x21: 'CKR_DATA_LEN_RANGE',
  0x30: 'CKR_DEVICE_ERROR',
  0x31: 'CKR_DEVICE_MEMORY',
  0x32: 'CKR_DEVICE_REMOVED',
  0x40: 'CKR_ENCRYPTED_DATA_INVALID',
  0x41: 'CKR_ENCRYPTED_DATA_LEN_RANGE',
  0x42: 'CKR_AEAD_DECRYPT_FAILED',
  0x54: 'CKR_FUNCTION_NOT_SUPPORTED',
  0x60: 'CKR_KEY_HANDLE_INVALID',
  0x63: 'CKR_KEY_TYPE_INCONSISTENT',
  0x68: 'CKR_KEY_FUNCTION_NOT_PERMITTED',
  0x70: 'CKR_MECHANISM_INVALID',
  0x71: 'CKR_MECHANISM_PARAM_INVALID',
  0x82: 'CKR_OBJECT_HANDLE_INVALID',
  0x90: 'CKR_OPERATION_ACTIVE',
  0x91: 'CKR_OPERATION_NOT_INITIALIZED',
  0xa0: 'CKR_PIN_INCORRECT',
  0xa1: 'CKR_PIN_INVALID',
  0xa2: 'CKR_PIN_LEN_RANGE',
  0xa3: 'CKR_PIN_EXPIRED',
  0xa4: 'CKR_PIN_LOCKED',
  0xb0: 'CKR_SESSION_CLOSED',
  0xb1: 'CKR_SESSION_COUNT',
  0xb3: 'CKR_SESSION_HANDLE_INVALID',
  0xb5: 'CKR_SESSION_READ_ONLY',
  0xe0: 'CKR_TOKEN_NOT_PRESENT',
  0xe1: 'CKR_TOKEN_NOT_RECOGNIZED',
  0xe2: 'CKR_TOKEN_WRITE_PROTECTED',
  0x100: 'CKR_USER_ALREADY_LOGGED_IN',
  0x101: 'CKR_USER_NOT_LOGGED_IN',
  0x102: 'CKR_USER_PIN_NOT_INITIALIZED',
  0x150: 'CKR_BUFFER_TOO_SMALL',
  0x190: 'CKR_CRYPTOKI_NOT_INITIALIZED',
  0x191: 'CKR_CRYPTOKI_ALREADY_INITIALIZED'
}
