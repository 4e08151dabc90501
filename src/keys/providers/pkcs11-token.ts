import { attributes, called, loadBinding, numbers, Pkcs11Failure, type Handle, type Pkcs11 } from './pkcs11-binding.ts'
import { mechanisms, type Mechanism, type MechanismName } from './pkcs11-mechanisms.ts'

/** What is used of a token. */
export interface TokenSettings {
  /** The package pkcs11js, or a module in its place. */
  readonly binding: string
  /** Path of the module, a shared library. */
  readonly module: string
  /** The token's label or its serial number: slots have no lasting number. */
  readonly token: { readonly label: string } | { readonly serial: string }
  readonly pin: string
  /** CKA_LABEL of every version of the key. */
  readonly label: string
  readonly mechanism: MechanismName
  /** Takes keys that may leave the token under another key (CKA_EXTRACTABLE). */
  readonly extractable: boolean
}

/** After these a new session may do what the old one could not; twice in a row, the module is loaded anew. */
const lost = new Set([
  'CKR_SESSION_HANDLE_INVALID',
  'CKR_SESSION_CLOSED',
  'CKR_DEVICE_REMOVED',
  'CKR_DEVICE_ERROR',
  'CKR_TOKEN_NOT_PRESENT',
  'CKR_TOKEN_NOT_RECOGNIZED',
  'CKR_USER_NOT_LOGGED_IN',
  'CKR_SLOT_ID_INVALID',
  'CKR_KEY_HANDLE_INVALID',
  'CKR_OBJECT_HANDLE_INVALID',
  'CKR_OPERATION_ACTIVE',
  'CKR_OPERATION_NOT_INITIALIZED',
  'CKR_CRYPTOKI_NOT_INITIALIZED',
  'CKR_GENERAL_ERROR',
  'CKR_FUNCTION_FAILED'
])
const MOST_ATTEMPTS = 3
const MOST_COUNTED = 1000

/** A session in which the user is logged in. */
interface Session {
  readonly handle: Handle
  /** Keys found so far, by CKA_ID in hexadecimal. */
  readonly keys: Map<string, Handle>
}

/**
 * One key, in one or more versions, on one token. Every method waits for the module and can hang with it, so this runs in a process of its own.
 * All methods throw Pkcs11Failure. A session that was lost is opened again once.
 */
export class Pkcs11Token {
  readonly #settings: TokenSettings
  readonly #mechanism: Mechanism
  #module: Pkcs11 | null = null
  #session: Session | null = null

  constructor(settings: TokenSettings) {
    this.#settings = settings
    this.#mechanism = mechanisms[settings.mechanism]()
  }

  /** Loads the module and logs in, which can take longer than all the rest. */
  open(): void {
    this.#session ??= this.#login(this.#load())
  }

  /** @param id CKA_ID in hexadecimal. @returns the blob of docs/FORMAT.md, which was opened again to see that it can be. */
  wrap(id: string, plaintext: Buffer, aad: Buffer): Buffer {
    return this.#attempt(id, (module, session, key) => this.#mechanism.seal({ module, session, key }, plaintext, aad))
  }

  /** @throws Pkcs11Failure WrongContext for a blob that this key and AAD did not seal. */
  unwrap(id: string, blob: Buffer, aad: Buffer): Buffer {
    return this.#attempt(id, (module, session, key) => this.#mechanism.open({ module, session, key }, blob, aad))
  }

  /** Finds the key and looks at its attributes. */
  find(id: string): void {
    this.#attempt(id, () => undefined)
  }

  /** Destroys the key, and sees that it is gone. */
  destroy(id: string): void {
    this.#attempt(id, (module, session, key) => {
      // Of the user that is logged in, who is so in all sessions of a process.
      const writing = called('C_OpenSession', () => module.C_OpenSession(this.#slotOf(module), numbers.serialSession | numbers.readWriteSession))
      try {
        called('C_DestroyObject', () => {
          module.C_DestroyObject(writing, key)
        })
      } finally {
        called('C_CloseSession', () => {
          module.C_CloseSession(writing)
        })
      }
      this.#session?.keys.delete(id)
      if (this.#found(module, session, id).length > 0) throw new Pkcs11Failure('WrongAnswer', 'C_DestroyObject')
    })
  }

  /** Keys with the label, of any version, up to `MOST_COUNTED`. */
  count(): number {
    return this.#within((module, { handle }) => this.#found(module, handle, null, MOST_COUNTED).length)
  }

  #attempt<T>(id: string, work: (module: Pkcs11, session: Handle, key: Handle) => T): T {
    return this.#within((module, session) => {
      const key = session.keys.get(id) ?? this.#keyOf(module, session, id)
      session.keys.set(id, key)
      return work(module, session.handle, key)
    })
  }

  #within<T>(work: (module: Pkcs11, session: Session) => T): T {
    for (let attempt = 1;; attempt++) {
      try {
        const module = this.#load()
        return work(module, this.#session ??= this.#login(module))
      } catch (error) {
        if (!(error instanceof Pkcs11Failure) || !lost.has(error.code) || attempt === MOST_ATTEMPTS) throw error
        // Many modules see a token that was put back only when they start.
        this.#drop(attempt > 1)
      }
    }
  }

  #load(): Pkcs11 {
    if (this.#module !== null) return this.#module
    const module = loadBinding(this.#settings.binding)
    called('C_Initialize', () => {
      module.load(this.#settings.module)
      module.C_Initialize()
    })
    this.#module = module
    return module
  }

  /** Forgets the session, and with `whole` the state of the module. What fails here was lost already. */
  #drop(whole: boolean): void {
    const module = this.#module
    const session = this.#session
    this.#session = null
    if (module === null) return
    const quietly = (work: () => void): void => {
      try {
        work()
      } catch {
        // Lost.
      }
    }
    if (session !== null) {
      quietly(() => {
        module.C_CloseSession(session.handle)
      })
    }
    if (!whole) return
    quietly(() => {
      module.C_Finalize()
    })
    quietly(() => {
      module.C_Initialize()
    })
  }

  #login(module: Pkcs11): Session {
    const slot = this.#slotOf(module)
    const { flags } = called('C_GetTokenInfo', () => module.C_GetTokenInfo(slot))
    if ((flags & numbers.pinLocked) !== 0) throw new Pkcs11Failure('CKR_PIN_LOCKED', 'C_GetTokenInfo')
    // The last try is left to a person: a wrong PIN would lock the token.
    if ((flags & numbers.pinFinalTry) !== 0) throw new Pkcs11Failure('PinFinalTry', 'C_GetTokenInfo')
    const handle = openSession(module, slot)
    try {
      called('C_Login', () => {
        module.C_Login(handle, numbers.user, this.#settings.pin)
      })
    } catch (error) {
      if (!(error instanceof Pkcs11Failure) || error.code !== 'CKR_USER_ALREADY_LOGGED_IN') {
        module.C_CloseSession(handle)
        throw error
      }
    }
    return { handle, keys: new Map() }
  }

  #slotOf(module: Pkcs11): Handle {
    const { token } = this.#settings
    const found = called('C_GetSlotList', () => module.C_GetSlotList(true)).filter((slot) => {
      const { label, serialNumber } = called('C_GetTokenInfo', () => module.C_GetTokenInfo(slot))
      return 'label' in token ? label.trimEnd() === token.label : serialNumber.trimEnd() === token.serial
    })
    const [slot] = found
    if (slot === undefined) throw new Pkcs11Failure('CKR_TOKEN_NOT_PRESENT', 'C_GetSlotList')
    if (found.length > 1) throw new Pkcs11Failure('TokenNotUnique', 'C_GetSlotList')
    return slot
  }

  #keyOf(module: Pkcs11, { handle }: Session, id: string): Handle {
    const found = this.#found(module, handle, id)
    const [key] = found
    if (key === undefined) throw new Pkcs11Failure('KeyNotFound', 'C_FindObjects')
    if (found.length > 1) throw new Pkcs11Failure('KeyNotUnique', 'C_FindObjects')
    this.#check(module, handle, key)
    return key
  }

  /** @param id null: any. @param most that are looked for: two tell that one is not the only one. */
  #found(module: Pkcs11, session: Handle, id: string | null, most = 2): Handle[] {
    return called('C_FindObjects', () => {
      module.C_FindObjectsInit(session, [
        { type: attributes.class, value: numbers.secretKey },
        { type: attributes.label, value: this.#settings.label },
        ...id === null ? [] : [{ type: attributes.id, value: Buffer.from(id, 'hex') }]
      ])
      try {
        return module.C_FindObjects(session, most)
      } finally {
        module.C_FindObjectsFinal(session)
      }
    })
  }

  /** A key that can be read out of the token, or another kind of key, protects less than the configuration says. */
  #check(module: Pkcs11, session: Handle, key: Handle): void {
    const numberOf = (type: number): number => {
      const [found] = called('C_GetAttributeValue', () => module.C_GetAttributeValue(session, key, [{ type }]))
      return found === undefined || found.value.length === 0 || found.value.length > 8 ? -1 : found.value.readUIntLE(0, Math.min(found.value.length, 6))
    }
    if (!this.#mechanism.keyTypes.includes(numberOf(attributes.keyType)) || numberOf(attributes.valueLength) !== 32) {
      throw new Pkcs11Failure('KeyNotOfThisKind', 'C_GetAttributeValue')
    }
    if (numberOf(attributes.sensitive) !== 1) throw new Pkcs11Failure('KeyReadable', 'C_GetAttributeValue')
    if (!this.#settings.extractable && numberOf(attributes.extractable) !== 0) throw new Pkcs11Failure('KeyExtractable', 'C_GetAttributeValue')
  }
}

/** A session that only reads is enough, but not for every module: that of AWS CloudHSM wants one that writes (its list of known issues). */
function openSession(module: Pkcs11, slot: Handle): Handle {
  try {
    return called('C_OpenSession', () => module.C_OpenSession(slot, numbers.serialSession))
  } catch {
    return called('C_OpenSession', () => module.C_OpenSession(slot, numbers.serialSession | numbers.readWriteSession))
  }
}
