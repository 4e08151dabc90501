/**
 * Parts of S3 that a store may lack, as `upstream.lacks` names them. What they are on the wire is in `src/store-client/store-adapter.ts`.
 * `listV2` and `multiDelete` are done by other requests; the rest is answered with 501 and never sent: a store that ignores a sub-resource
 * it does not know would take PutObjectTagging for PutObject.
 */
export const storeFeatures = [
  'acl',
  'cors',
  'lifecycle',
  'listV2',
  'lock',
  'multiDelete',
  'partCopy',
  'policy',
  'tagging',
  'versioning',
  'website'
] as const
export type StoreFeature = (typeof storeFeatures)[number]

export interface StoreProfile {
  /** The provider and its product. */
  readonly title: string
  /** Options of `upstream` in place of their defaults. */
  readonly options: Readonly<{
    region?: string
    style?: 'virtual-host'
    metadataBytes?: number
    maxParts?: number
    equalParts?: boolean
    lacks?: readonly StoreFeature[]
  }>
}

/**
 * What `upstream.profile` stands for. Providers that need no option of their own have no profile. The sources are those of
 * test/support/narrow-profiles.ts.
 */
export const storeProfiles = {
  none: { title: 'AWS S3, and stores that do what it does', options: {} },
  b2: { title: 'Backblaze B2', options: { lacks: ['tagging'] } },
  ceph14: { title: 'Ceph before 14.2.5', options: { lacks: ['listV2'] } },
  garage: { title: 'Garage', options: { region: 'garage', lacks: ['acl', 'lock', 'policy', 'tagging', 'versioning'] } },
  google: {
    title: 'Google Cloud Storage, XML API with HMAC keys',
    options: { region: 'auto', lacks: ['lock', 'multiDelete', 'partCopy', 'tagging', 'versioning'] }
  },
  oss: {
    title: 'Alibaba Cloud OSS',
    options: { style: 'virtual-host', lacks: ['cors', 'lock', 'policy', 'tagging', 'versioning', 'website'] }
  },
  r2: {
    title: 'Cloudflare R2',
    options: { region: 'auto', equalParts: true, metadataBytes: 8192, lacks: ['acl', 'lock', 'policy', 'tagging', 'versioning', 'website'] }
  },
  scaleway: { title: 'Scaleway Object Storage', options: { maxParts: 1000 } },
  wasabi: { title: 'Wasabi', options: { lacks: ['lifecycle', 'tagging'] } }
} as const satisfies Record<string, StoreProfile>

export type ProfileName = keyof typeof storeProfiles
export const profileNames = Object.keys(storeProfiles) as ProfileName[]
