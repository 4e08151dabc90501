import { randomBytes, type KeyObject } from 'node:crypto'
import { decodeBase64, KEY_BYTES, takeKey } from './key-material.ts'

/** `enabled`: may wrap and unwrap. `decrypt-only`: unwraps. `disabled`: neither. Every change between them is allowed. */
export const keyStates = ['enabled', 'decrypt-only', 'disabled'] as const
export type KeyState = (typeof keyStates)[number]

/** What every version of a local master key has. */
interface VersionFacts {
  readonly id: string
  /** ISO 8601, UTC. For people only: the order is that of the file, because clocks go backwards. */
  readonly created: string
}

/** A version whose key exists. */
export interface LiveVersion extends VersionFacts {
  readonly state: KeyState
  readonly key: KeyObject
}

/** A version whose key was destroyed. Its id stays, so that what was sealed with it is refused with the reason, and no new key can have the id. */
interface DestroyedVersion extends VersionFacts {
  readonly state: 'destroyed'
  /** ISO 8601, UTC. */
  readonly destroyed: string
}

export type MasterKeyVersion = LiveVersion | DestroyedVersion

/** A keyring that cannot be used, worded for the operator. Never holds key bytes. */
export class KeyringError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'KeyringError'
  }
}

/** Short, because it is stored with every object as part of the key id. */
const namePattern = /^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/
/** As `upstream.realm` of the configuration. */
const realmPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/
const versionPattern = /^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/
const timePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/

/** The local master keys of one name. Immutable: rotation and changes of state give a new keyring. */
export class Keyring {
  readonly name: string
  /** Oldest first. */
  readonly versions: readonly MasterKeyVersion[]
  /** The one realm it serves: objects open only under the realm they were sealed in, so it is stored with the keys. null: not recorded. */
  readonly realm: string | null

  /** @throws KeyringError on a bad name or realm, no version, or the same id or the same key bytes twice. */
  constructor(name: string, versions: readonly MasterKeyVersion[], realm: string | null = null) {
    if (!namePattern.test(name)) {
      throw new KeyringError('A keyring name is 1 to 32 letters, digits, "-" or "_", and starts with a letter or digit.')
    }
    if (realm !== null && !realmPattern.test(realm)) {
      throw new KeyringError('A realm is 1 to 63 letters, digits, ".", "_" or "-", and starts with a letter or digit.')
    }
    if (versions.length === 0) throw new KeyringError(`Keyring ${name} holds no key.`)
    for (const [i, version] of versions.entries()) {
      for (const earlier of versions.slice(0, i)) {
        if (earlier.id === version.id) throw new KeyringError(`Keyring ${name} holds version ${version.id} twice.`)
        if (isLive(earlier) && isLive(version) && earlier.key.equals(version.key)) {
          throw new KeyringError(`Keyring ${name} holds one key under two ids, ${earlier.id} and ${version.id}.`)
        }
      }
    }
    this.name = name
    this.versions = versions
    this.realm = realm
  }

  /** The versions whose keys exist, oldest first. */
  get live(): readonly LiveVersion[] {
    return this.versions.filter(isLive)
  }

  /** A keyring with one fresh enabled key. @throws KeyringError on a bad name or realm. */
  static create(name: string, now: Date, realm: string | null = null): Keyring {
    return new Keyring(name, [freshVersion(now)], realm)
  }

  /** The version that wraps: the newest enabled one. null when none is enabled. */
  current(): LiveVersion | null {
    return this.versions.findLast((version): version is LiveVersion => version.state === 'enabled') ?? null
  }

  find(id: string): MasterKeyVersion | null {
    return this.versions.find((version) => version.id === id) ?? null
  }

  /** The readable key id stored with each object: `local:<keyring name>:<version id>`. */
  keyId(version: MasterKeyVersion): string {
    return `local:${this.name}:${version.id}`
  }

  /**
   * Adds a new enabled version at the end. Versions enabled so far become decrypt-only, so that disabling the new one later stops writes instead of
   * going back to an old key.
   */
  rotate(now: Date): Keyring {
    const retired = this.versions.map((version) => version.state === 'enabled' ? { ...version, state: 'decrypt-only' as const } : version)
    return new Keyring(this.name, [...retired, freshVersion(now)], this.realm)
  }

  /** @param realm null: it serves several, or is not to be recorded. @throws KeyringError on a bad one. */
  withRealm(realm: string | null): Keyring {
    return new Keyring(this.name, this.versions, realm)
  }

  /** @throws KeyringError when it serves another realm than one of these. */
  requireRealms(realms: readonly string[]): void {
    const other = realms.find((realm) => realm !== this.realm)
    if (this.realm === null || other === undefined) return
    if (realms.includes(this.realm)) {
      throw new KeyringError(
        `Keyring ${this.name} is of realm ${this.realm}, and the stores of its buckets are of the realms ${[...new Set(realms)].join(', ')}. `
          + 'Let it serve several with "sealgate keys set-realm" without --realm, or give each realm a key of its own.'
      )
    }
    throw new KeyringError(
      `Keyring ${this.name} is of realm ${this.realm}, and upstream.realm is ${other}. Objects open only under the realm they were sealed in: `
        + 'set upstream.realm to that of the keyring, or the keyring\'s with "sealgate keys set-realm".'
    )
  }

  /** @throws KeyringError when there is no such version, or its key was destroyed. */
  withState(id: string, state: KeyState): Keyring {
    const found = this.find(id)
    if (found === null) throw new KeyringError(`Keyring ${this.name} holds no version ${id}.`)
    if (!isLive(found)) throw new KeyringError(`Version ${id} of keyring ${this.name} was destroyed at ${found.destroyed}.`)
    return new Keyring(this.name, this.versions.map((version) => version === found ? { ...found, state } : version), this.realm)
  }

  /** The same keyring without the key of any version. What was sealed with them opens nowhere any more. */
  destroyed(now: Date): Keyring {
    const destroyed = now.toISOString()
    const versions = this.versions.map((version): DestroyedVersion =>
      isLive(version) ? { id: version.id, created: version.created, state: 'destroyed', destroyed } : version
    )
    return new Keyring(this.name, versions, this.realm)
  }

  /**
   * This keyring, with every version that `other` names as disabled or destroyed in that state. Nothing else is taken from there: a new version must
   * be on every gateway before one of them seals with it.
   */
  restrictedBy(other: Keyring): Keyring {
    const versions = this.versions.map((version): MasterKeyVersion => {
      const now = other.find(version.id)
      if (now === null || !isLive(version)) return version
      if (!isLive(now)) return now
      return now.state === 'disabled' ? { ...version, state: 'disabled' } : version
    })
    return new Keyring(this.name, versions, this.realm)
  }

  /**
   * Parses the file format `{ name, realm, keys: [{ id, state, key, created }] }`; `realm` may be left out, `key` is base64 of 32 bytes. A destroyed
   * version has `destroyed` in place of `key`. Unknown fields are errors: a parser that dropped them would lose them at the next rotation. `bytes` is zeroed; the strings that JSON.parse makes cannot
   * be.
   * @throws KeyringError that names the fault and never quotes the file.
   */
  static parse(bytes: Buffer): Keyring {
    const other = otherContents(bytes)
    if (other !== null) throw new KeyringError(`This is ${other}, not a keyring.`)
    let value: unknown
    try {
      value = JSON.parse(bytes.toString('utf8'))
    } catch {
      // The parser's message quotes its input, which is keys.
      throw new KeyringError('The keyring is not JSON.')
    } finally {
      bytes.fill(0)
    }
    const { name, realm = null, keys } = fields(value, ['name', 'realm', 'keys'], 'The keyring')
    if (typeof name !== 'string' || !Array.isArray(keys)) {
      throw new KeyringError('The keyring needs a "name" and an array of "keys".')
    }
    if (realm !== null && typeof realm !== 'string') throw new KeyringError(`Keyring ${name} has a "realm" that is no text.`)
    return new Keyring(name, keys.map((key: unknown, i) => parseVersion(key, `Key ${i + 1} of keyring ${name}`)), realm)
  }

  /** @returns the file format, with the keys in plaintext. The caller zeroes it after use. */
  serialize(): Buffer {
    const keys = this.versions.map((version) => {
      if (!isLive(version)) return { id: version.id, state: version.state, created: version.created, destroyed: version.destroyed }
      const bytes = version.key.export()
      const key = bytes.toString('base64')
      bytes.fill(0)
      return { id: version.id, state: version.state, key, created: version.created }
    })
    return Buffer.from(JSON.stringify({ name: this.name, ...this.realm === null ? {} : { realm: this.realm }, keys }, null, 2) + '\n')
  }
}

/** Whether its key exists. */
export function isLive(version: MasterKeyVersion): version is LiveVersion {
  return version.state !== 'destroyed'
}

/** The id has a date for people and 32 random bits, so that two copies of a keyring which were rotated separately do not give two keys one id. */
function freshVersion(now: Date): LiveVersion {
  const created = now.toISOString()
  const id = `${created.slice(0, 10).replaceAll('-', '')}-${randomBytes(4).toString('hex')}`
  const key = takeKey(randomBytes(KEY_BYTES))
  if (key === null) throw new KeyringError('The random generator gave zeros.')
  return { id, state: 'enabled', created, key }
}

function parseVersion(value: unknown, where: string): MasterKeyVersion {
  const { id, state, key, created, destroyed } = fields(value, ['id', 'state', 'key', 'created', 'destroyed'], where)
  if (typeof id !== 'string' || !versionPattern.test(id)) throw new KeyringError(`${where} has no valid "id".`)
  if (typeof created !== 'string' || !timePattern.test(created)) {
    throw new KeyringError(`${where} has no valid "created": an ISO 8601 time in UTC.`)
  }
  if (state === 'destroyed') {
    if (typeof destroyed !== 'string' || !timePattern.test(destroyed)) {
      throw new KeyringError(`${where} has no valid "destroyed": an ISO 8601 time in UTC.`)
    }
    if (key !== undefined) throw new KeyringError(`${where} is destroyed and has a "key".`)
    return { id, state, created, destroyed }
  }
  if (destroyed !== undefined) throw new KeyringError(`${where} has "destroyed" and another state.`)
  const known = keyStates.find((name) => name === state)
  if (known === undefined) throw new KeyringError(`${where} has no valid "state": ${keyStates.join(', ')}, destroyed.`)
  const bytes = typeof key === 'string' ? decodeBase64(key) : null
  const object = bytes === null ? null : takeKey(bytes)
  if (object === null) throw new KeyringError(`${where} has no valid "key": base64 of 32 bytes, not all zero.`)
  return { id, state: known, created, key: object }
}

/** The kind of another file that was named as a keyring by mistake; null: it may be a keyring. */
export function otherContents(bytes: Buffer): string | null {
  if (bytes.length === 0) return 'an empty file'
  const head = bytes.toString('latin1', 0, 4096)
  if (head.startsWith('sealgate-keys-') || isAge(head)) return 'an encrypted backup ("sealgate keys restore" makes a keyring of it)'
  const label = /^-----BEGIN ([A-Z0-9 ]{1,40})-----/m.exec(head)?.[1]
  if (label === undefined) return null
  return label.endsWith('CERTIFICATE') ? 'a certificate' : label.endsWith('PRIVATE KEY') ? 'a private key in PEM form' : 'a PEM file'
}

/** Whether a file begins as an age-encrypted one, binary or armored (age specification, C2SP). */
export function isAge(head: string): boolean {
  return head.startsWith('age-encryption.org/v1\n') || head.trimStart().startsWith('-----BEGIN AGE ENCRYPTED FILE-----')
}

/** The fields of a JSON object that has exactly these names. */
function fields<Name extends string>(value: unknown, names: readonly Name[], where: string): Record<Name, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new KeyringError(`${where} is not a JSON object.`)
  const unknown = Object.keys(value).find((name) => !(names as readonly string[]).includes(name))
  if (unknown !== undefined) throw new KeyringError(`${where} has an unknown field.`)
  return value as Record<Name, unknown>
}
