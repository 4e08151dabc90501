import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { attributes, numbers, type Handle, type Pkcs11 } from '../../src/keys/providers/pkcs11-binding.ts'

interface FakeKey {
  label: string
  id: string
  kind: 'aes' | 'generic'
  value: string
  sensitive: boolean
  extractable: boolean
  /** It keeps its place, from which handles are made. */
  destroyed?: true
  /** CKA_ENCRYPT, CKA_DECRYPT and CKA_SIGN. */
  uses: ('encrypt' | 'decrypt' | 'sign')[]
}

/** What the module has and does. It is kept in a file, whose path stands for the module's: the test changes it while another process has it loaded. */
interface FakeModule {
  tokens: { label: string; serial: string; pin: string; present: boolean; flags: number; keys: FakeKey[] }[]
  /** Sessions of another generation are not valid any more. */
  generation: number
  /** Code of calls in such sessions. */
  lostCode: number
  /** A token that was put back is seen only by C_Initialize. */
  seenAtStart: boolean
  /**
   * Whose IV AES-GCM takes: the caller's; one of the module; the module's where the caller's is zeros, and no other; zeros themselves, and no other; the
   * module's, behind the output.
   */
  iv: 'caller' | 'module' | 'zeros' | 'only-zeros' | 'appended'
  readWriteOnly: boolean
  /** The code for a wrong tag: SoftHSM2 says CKR_GENERAL_ERROR. */
  wrongTag: number
  /** Codes of functions that fail; -1: an exception of another kind, with a secret in it. */
  fails: Record<string, number>
  hangs: string | null
  crashes: string | null
  /** What an encryption, decryption or signature answers instead. `plaintext`: nothing is encrypted. */
  lies: 'short' | 'long' | 'nothing' | 'zeros' | 'plaintext' | 'other-iv' | null
}

/** A change of the module from the test's side, and what was called. */
export class FakeToken {
  readonly path: string
  readonly module: FakeModule

  constructor(test: { teardown(work: () => void): void }) {
    const directory = mkdtempSync(join(tmpdir(), 'fake-pkcs11-'))
    test.teardown(() => {
      rmSync(directory, { recursive: true, force: true })
    })
    this.path = join(directory, 'module.so')
    const keys = ['01', '02', '03'].flatMap((id): FakeKey[] => [{ ...newKey(), id }, { ...newKey(), id, label: 'mac', kind: 'generic' }])
    this.module = {
      tokens: [{ label: 'vault 7', serial: '0042', pin: PIN, present: true, flags: 0, keys }],
      generation: 1,
      lostCode: 0xb3,
      seenAtStart: false,
      iv: 'caller',
      readWriteOnly: false,
      wrongTag: 0x5,
      fails: {},
      hangs: null,
      crashes: null,
      lies: null
    }
    this.change({})
  }

  change(change: Partial<FakeModule>): void {
    Object.assign(this.module, change)
    writeFileSync(this.path, JSON.stringify(this.module))
  }

  /** Functions called so far, in order. */
  get calls(): string[] {
    return existsSync(`${this.path}.calls`) ? readFileSync(`${this.path}.calls`, 'utf8').trimEnd().split('\n') : []
  }

  count(call: string): number {
    return this.calls.filter((name) => name === call).length
  }
}

/** Long enough to be searched for in whatever is printed. */
export const PIN = 'pin-canary-1234'

export function newKey(): FakeKey {
  return {
    label: 'master',
    id: '01',
    kind: 'aes',
    value: randomBytes(32).toString('hex'),
    sensitive: true,
    extractable: false,
    uses: ['encrypt', 'decrypt', 'sign']
  }
}

class FakeError extends Error {
  readonly code: number

  constructor(code: number) {
    super('CKR_SOMETHING')
    this.code = code
  }
}

const TAG = 16

/** @public In the place of the class of pkcs11js, in the process of the module. */
export class PKCS11 implements Pkcs11 {
  #path = ''
  #initialized = false
  /** Serial numbers of the tokens that C_Initialize found. */
  #seen: string[] = []
  readonly #sessions = new Map<string, { token: string; generation: number; loggedIn: boolean; readWrite: boolean }>()
  #operation: { kind: string; key: FakeKey; iv: Buffer; aad: Buffer } | null = null
  #search: Handle[] = []

  load(path: string): void {
    this.#path = path
    this.#enter('load')
  }

  C_Initialize(): void {
    if (this.#initialized) throw new FakeError(0x191)
    this.#initialized = true
    this.#seen = this.#enter('C_Initialize').tokens.filter(({ present }) => present).map(({ serial }) => serial)
  }

  C_Finalize(): void {
    this.#enter('C_Finalize')
    this.#initialized = false
    this.#sessions.clear()
  }

  C_GetSlotList(): Handle[] {
    const { tokens, seenAtStart } = this.#enter('C_GetSlotList')
    return tokens.flatMap(({ present, serial }, i) => present && (!seenAtStart || this.#seen.includes(serial)) ? [handle(i)] : [])
  }

  C_GetTokenInfo(slot: Handle) {
    const { label, serial, flags } = this.#enter('C_GetTokenInfo').tokens[slot.readUInt8()]!
    return { label: label.padEnd(32), serialNumber: serial.padEnd(16), flags }
  }

  C_OpenSession(slot: Handle, flags: number): Handle {
    const module = this.#enter('C_OpenSession')
    if (module.readWriteOnly && (flags & numbers.readWriteSession) === 0) throw new FakeError(0x6)
    const session = randomBytes(8)
    const token = module.tokens[slot.readUInt8()]!
    // The user is logged in in all sessions of a process, or in none.
    const loggedIn = [...this.#sessions.values()].some((other) => other.token === token.serial && other.generation === module.generation && other.loggedIn)
    const readWrite = (flags & numbers.readWriteSession) !== 0
    this.#sessions.set(session.toString('hex'), { token: token.serial, generation: module.generation, loggedIn, readWrite })
    return session
  }

  C_CloseSession(session: Handle): void {
    this.#enter('C_CloseSession')
    this.#sessions.delete(session.toString('hex'))
  }

  C_Login(session: Handle, userType: number, pin: string): void {
    const { token, found } = this.#session('C_Login', session)
    if (found.loggedIn) throw new FakeError(0x100)
    if (userType !== numbers.user || pin !== token.pin) throw new FakeError(0xa0)
    found.loggedIn = true
  }

  C_FindObjectsInit(session: Handle, template: Parameters<Pkcs11['C_FindObjectsInit']>[1]): void {
    const { token } = this.#session('C_FindObjectsInit', session)
    const wanted = new Map(template.map(({ type, value }) => [type, value]))
    this.#search = token.keys.flatMap(({ label, id, destroyed }, i) =>
      wanted.get(attributes.class) === numbers.secretKey && wanted.get(attributes.label) === label && destroyed !== true &&
        ((wanted.get(attributes.id) as Buffer | undefined)?.toString('hex') ?? id) === id
        ? [handle(i)]
        : []
    )
  }

  C_FindObjects(session: Handle, most: number): Handle[] {
    this.#session('C_FindObjects', session)
    return this.#search.splice(0, most)
  }

  C_FindObjectsFinal(session: Handle): void {
    this.#session('C_FindObjectsFinal', session)
  }

  C_DestroyObject(session: Handle, object: Handle): void {
    const { module, token, found } = this.#session('C_DestroyObject', session)
    if (!found.readWrite) throw new FakeError(0xb5)
    this.#keyOf(token, object).destroyed = true
    writeFileSync(this.#path, JSON.stringify(module))
  }

  C_GetAttributeValue(session: Handle, object: Handle, [asked]: Parameters<Pkcs11['C_GetAttributeValue']>[2]) {
    const { token } = this.#session('C_GetAttributeValue', session)
    const { kind, value, sensitive, extractable } = this.#keyOf(token, object)
    const type = asked!.type
    const values: Record<number, Buffer> = {
      [attributes.keyType]: handle(kind === 'aes' ? numbers.aes : numbers.genericSecret),
      [attributes.valueLength]: handle(value.length / 2),
      [attributes.sensitive]: Buffer.of(Number(sensitive)),
      [attributes.extractable]: Buffer.of(Number(extractable))
    }
    return [{ type, value: values[type]! }]
  }

  C_EncryptInit(session: Handle, mechanism: Parameters<Pkcs11['C_EncryptInit']>[1], key: Handle): void {
    this.#begin('C_EncryptInit', 'encrypt', session, mechanism, key)
  }

  C_Encrypt(session: Handle, input: Buffer, output: Buffer): Buffer {
    const { module } = this.#session('C_Encrypt', session)
    const { key, iv, aad } = this.#take()
    const given = Buffer.from(iv)
    if (module.iv === 'module' || module.iv === 'zeros') randomBytes(12).copy(iv)
    const used = module.iv === 'caller' || module.iv === 'only-zeros' ? given : module.iv === 'appended' ? randomBytes(16) : iv
    const cipher = createCipheriv('aes-256-gcm', Buffer.from(key.value, 'hex'), used, { authTagLength: TAG }).setAAD(aad)
    const sealed = Buffer.concat([cipher.update(input), cipher.final(), cipher.getAuthTag(), ...module.iv === 'appended' ? [used] : []])
    if (module.lies === 'other-iv') randomBytes(12).copy(iv)
    // A ciphertext of zeros would only be one that does not open.
    const { lies } = module
    return answer({ ...module, lies: lies === 'zeros' ? null : lies }, lies === 'plaintext' ? Buffer.concat([input, Buffer.alloc(TAG)]) : sealed, output)
  }

  C_DecryptInit(session: Handle, mechanism: Parameters<Pkcs11['C_DecryptInit']>[1], key: Handle): void {
    this.#begin('C_DecryptInit', 'decrypt', session, mechanism, key)
  }

  C_Decrypt(session: Handle, input: Buffer, output: Buffer): Buffer {
    const { module } = this.#session('C_Decrypt', session)
    const { key, iv, aad } = this.#take()
    if (module.lies === 'plaintext') return answer(module, input.subarray(0, -TAG), output)
    const decipher = createDecipheriv('aes-256-gcm', Buffer.from(key.value, 'hex'), iv, { authTagLength: TAG }).setAAD(aad)
    decipher.setAuthTag(input.subarray(-TAG))
    try {
      return answer(module, Buffer.concat([decipher.update(input.subarray(0, -TAG)), decipher.final()]), output)
    } catch {
      throw new FakeError(module.wrongTag)
    }
  }

  C_SignInit(session: Handle, mechanism: Parameters<Pkcs11['C_SignInit']>[1], key: Handle): void {
    this.#begin('C_SignInit', 'sign', session, mechanism, key)
  }

  C_Sign(session: Handle, input: Buffer, output: Buffer): Buffer {
    const { module } = this.#session('C_Sign', session)
    return answer(module, createHmac('sha256', Buffer.from(this.#take().key.value, 'hex')).update(input).digest(), output)
  }

  #begin(call: string, use: FakeKey['uses'][number], session: Handle, { mechanism, parameter }: Parameters<Pkcs11['C_EncryptInit']>[1], key: Handle): void {
    const { module, token } = this.#session(call, session)
    const found = this.#keyOf(token, key)
    if (mechanism !== (use === 'sign' ? numbers.sha256HmacMechanism : numbers.aesGcm)) throw new FakeError(0x70)
    if (!found.uses.includes(use)) throw new FakeError(0x68)
    const iv = parameter?.['iv'] as Buffer | undefined ?? Buffer.alloc(0)
    const aad = parameter?.['aad'] as Buffer | undefined ?? Buffer.alloc(0)
    if (use !== 'sign' && (parameter?.['type'] !== numbers.gcmParameter || parameter['tagBits'] !== 128 || parameter['ivBits'] !== iv.length * 8)) {
      throw new FakeError(0x7)
    }
    if (use === 'encrypt' && module.iv.endsWith('zeros') && iv.some((byte) => byte !== 0)) throw new FakeError(0x71)
    this.#operation = { kind: use, key: found, iv, aad }
  }

  #keyOf({ keys }: FakeModule['tokens'][number], object: Handle): FakeKey {
    const key = keys[object.readUInt8()]
    if (key === undefined || key.destroyed === true) throw new FakeError(0x82)
    return key
  }

  #take(): { key: FakeKey; iv: Buffer; aad: Buffer } {
    const operation = this.#operation
    this.#operation = null
    if (operation === null) throw new FakeError(0x91)
    return operation
  }

  #session(call: string, session: Handle) {
    const module = this.#enter(call)
    const found = this.#sessions.get(session.toString('hex'))
    const token = module.tokens.find(({ serial }) => serial === found?.token)
    if (found === undefined || token === undefined || found.generation !== module.generation) throw new FakeError(module.lostCode)
    if (!token.present) throw new FakeError(0x32)
    if (!found.loggedIn && call !== 'C_Login') throw new FakeError(0x101)
    return { module, token, found }
  }

  #enter(call: string): FakeModule {
    const module = JSON.parse(readFileSync(this.#path, 'utf8')) as FakeModule
    appendFileSync(`${this.#path}.calls`, `${call}\n`)
    if (call !== 'load' && !this.#initialized) throw new FakeError(0x190)
    if (module.hangs === call) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
    if (module.crashes === call) process.kill(process.pid, 'SIGKILL')
    const code = module.fails[call]
    if (code === -1) throw new Error(`exception with ${PIN}`)
    if (code !== undefined) throw new FakeError(code)
    return module
  }
}

function handle(value: number): Handle {
  const bytes = Buffer.alloc(8)
  bytes.writeUInt32LE(value)
  return bytes
}

function answer({ lies }: FakeModule, right: Buffer, output: Buffer): Buffer {
  const bytes = lies === 'short'
    ? right.subarray(1)
    : lies === 'long'
    ? Buffer.concat([right, Buffer.of(1)])
    : lies === 'nothing'
    ? Buffer.alloc(0)
    : lies === 'zeros'
    ? Buffer.alloc(right.length)
    : right
  return output.subarray(0, bytes.copy(output))
}

/** What a provider loads in the place of pkcs11js. */
export const FAKE_BINDING = import.meta.filename
