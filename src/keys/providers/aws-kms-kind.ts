import { isDeepStrictEqual } from 'node:util'
import type { KeyConfig } from '../../config/config.ts'
import type { KeySite, ProviderKind } from '../provider-kind.ts'
import { KmsKeyProvider, type KmsProviderOptions } from './aws-kms.ts'
import { inRegion } from './kms-arn.ts'

type KmsConfig = Extract<KeyConfig, { type: 'aws-kms' }>

export const awsKmsKind: ProviderKind<KmsConfig> = {
  open: async (config, site) => openKms(config, site),
  /** The forms in which KMS accepts a key id (AWS KMS API reference, GenerateDataKey, KeyId). */
  names({ arn, aliases, regions }) {
    const account = arn.slice(0, arn.indexOf(':key/') + 1)
    return [
      arn,
      ...regions.map((region) => inRegion(arn, region)),
      arn.slice(account.length + 'key/'.length),
      ...aliases.map((alias) => alias.replace(/^alias\//, '')).flatMap((bare) => [bare, `alias/${bare}`, `${account}alias/${bare}`])
    ]
  },
  shownByName: false,
  async describe({ arn, decryptOnly, aliases, regions }) {
    const older = decryptOnly.length === 0 ? '' : `; opens also ${decryptOnly.join(', ')}`
    const replicas = regions.length === 0 ? '' : `, then ${regions.join(', ')}`
    return `AWS KMS ${arn}${replicas}${older}${aliases.length === 0 ? '' : `; aliases ${aliases.join(', ')}`}`
  },
  check: async () => ({ faults: [], keyIds: null }),
  backup: async () => null,
  async destroy(config, site, { days, signal }) {
    const provider = openKms(config, site)
    try {
      const { arns, last, failure } = await provider.scheduleDeletion(days, signal)
      return {
        keyIds: arns,
        final: last.toISOString(),
        notes: ['Until then an administrator of KMS can cancel the deletion (CancelKeyDeletion).'],
        failure
      }
    } finally {
      await provider.close()
    }
  }
}

function openKms(config: KmsConfig, site: KeySite): KmsKeyProvider {
  return new KmsKeyProvider({
    arn: config.arn,
    decryptOnly: config.decryptOnly,
    reEncryptFrom: siblings(config, site),
    region: config.region,
    regions: config.regions,
    endpoint: config.endpoint,
    selfTestContext: site.selfTestContext,
    metrics: site.metrics,
    ...credentialsFor(config, site)
  })
}

/** Credentials of the configuration, else those of the registry, else the standard chain. */
function credentialsFor({ credentials }: KmsConfig, { kmsCredentials }: KeySite): Pick<KmsProviderOptions, 'credentials'> {
  if (credentials === 'aws') return kmsCredentials === undefined ? {} : { credentials: kmsCredentials }
  const { accessKeyId, secretAccessKey, sessionToken } = credentials
  return { credentials: { accessKeyId, secretAccessKey, ...sessionToken === null ? {} : { sessionToken } } }
}

/** ARNs of all keys in the same region of the same service that use the same credentials: KMS can re-encrypt from them by itself. */
function siblings(config: KmsConfig, { keys }: KeySite): string[] {
  const serviceOf = (arn: string): string => arn.split(':', 4).join(':')
  const kms = Object.values(keys).filter((key): key is KmsConfig =>
    key.type === 'aws-kms' && key.endpoint === config.endpoint && isDeepStrictEqual(key.credentials, config.credentials)
  )
  return kms.flatMap(({ arn, decryptOnly }) => [arn, ...decryptOnly]).filter((arn) => serviceOf(arn) === serviceOf(config.arn))
}
