import type { VaultConfig } from '../../config/key-config.ts'
import { S3Error } from '../../errors.ts'
import { WrongServiceAnswer } from '../service/errors.ts'
import { isRecord, type Data, type ServerTrust } from '../service/http.ts'

/** PEM texts of a configuration's files. */
export type VaultFiles = Omit<ServerTrust, 'serverName'>

/** What the server says of the key (Transit API, "Read key"). */
export interface Description {
  readonly latest: number
  /** Lowest version that decrypts. */
  readonly oldest: number
  readonly versions: readonly number[]
  readonly warnings: readonly string[]
  /** The server would delete the key. */
  readonly deletable: boolean
  readonly readAt: number
}

/** Key ids without a version: `vault:<service>/[<namespace>/]<mount>/<key>`. */
export function keyNameOf({ service, namespace, mount, key }: VaultConfig): string {
  return `vault:${[service, ...namespace === null ? [] : [namespace], mount, key].join('/')}`
}

export function dataOf({ data }: Data): Data {
  if (!isRecord(data)) throw new WrongServiceAnswer('Vault answered without data.')
  return data
}

/** @throws S3Error KMS.KMSInvalidStateException for a key that would not bind, or that no object should depend on. */
export function descriptionOf(data: Data, name: string): Description {
  const { type, derived, latest_version: latest, min_decryption_version: oldest, keys } = data
  if (typeof type !== 'string' || typeof latest !== 'number' || typeof oldest !== 'number' || !isRecord(keys)) {
    throw new S3Error('InternalError', { endedBy: 'keys', cause: new WrongServiceAnswer('Vault answered without a description of the key.') })
  }
  const refusal = type !== 'aes256-gcm96'
    ? 'is not of the type aes256-gcm96'
    : derived !== true
    ? 'is not derived: it takes a context and ignores it, so a wrapped key would open in every place'
    : null
  if (refusal !== null) {
    throw new S3Error('KMS.KMSInvalidStateException', {
      message: `The Transit key ${name} ${refusal}. Make one with: bao write -f ${name.replace(/\/([^/]*)$/, '/keys/$1')} type=aes256-gcm96 derived=true`
    })
  }
  const allowed = ['exportable', 'allow_plaintext_backup', 'deletion_allowed'].filter((option) => data[option] === true)
  return {
    latest,
    oldest,
    versions: Object.keys(keys).filter((id) => /^[1-9]\d{0,8}$/.test(id)).map(Number),
    warnings: allowed.map((option) => `The Transit key ${name} has ${option}: ${dangers[option] ?? ''}.`),
    deletable: data['deletion_allowed'] === true,
    readAt: performance.now()
  }
}

const dangers: Readonly<Record<string, string>> = {
  exportable: 'who may export it can open every object away from the server',
  allow_plaintext_backup: 'who may back it up can open every object away from the server',
  deletion_allowed: 'who may delete it can destroy every object sealed under it'
}
