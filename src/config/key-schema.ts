import { z } from 'zod'
import { conceal } from './conceal.ts'
import type { KeyConfig, VaultAuth } from './key-config.ts'
import { isLoopback } from './loopback.ts'

/** Kinds of value that depend on where the configuration is. */
interface SourcedTypes {
  /** A path, from the directory of the configuration file. */
  readonly path: z.ZodType<string>
  /** A text, or the file or variable that has it. */
  readonly secret: z.ZodType<string>
}

export const name = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'must be 1 to 63 letters, digits, ".", "_" or "-"')

const arn = z.string().regex(
  /^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key\/[A-Za-z0-9-]+$/,
  'must be the ARN of a KMS key: arn:aws:kms:REGION:ACCOUNT:key/ID, not an alias'
)

function local({ path }: SourcedTypes) {
  return z.strictObject({ type: z.literal('local'), keyring: path })
}

function awsKms({ secret }: SourcedTypes) {
  return z.strictObject({
    type: z.literal('aws-kms'),
    arn: arn,
    decryptOnly: z.array(arn).default([]),
    aliases: z.array(z.string().regex(/^alias\/[A-Za-z0-9/_-]+$/, 'must be alias/NAME')).default([]),
    region: z.string().min(1).nullable().default(null),
    regions: z.array(z.string().regex(/^[a-z0-9-]{1,40}$/, 'must be the name of a region')).max(4).default([]),
    endpoint: z.string().refine(isOrigin, 'must be http://HOST[:PORT] or https://HOST[:PORT]').nullable().default(null),
    accessKeyId: secret.optional(),
    secretAccessKey: secret.optional(),
    sessionToken: secret.nullable().default(null),
    credentials: z.literal('aws').optional()
  }).refine(({ arn, regions }) => regions.length === 0 || arn.includes(':key/mrk-'), {
    path: ['regions'],
    error: 'needs an arn of a multi-Region key: its id begins with mrk-'
  })
}

/** Parts of a path of a Vault: they stand in URLs and key ids as they are. */
const vaultPath = z.string().regex(
  /^[A-Za-z0-9][A-Za-z0-9._-]*(\/[A-Za-z0-9][A-Za-z0-9._-]*)*$/,
  'must be names of letters, digits, ".", "_" or "-", separated by "/"'
)
  .max(200)
const secureOrigin = z.string().refine(isOrigin, 'must be https://HOST[:PORT]').refine(
  (text) => !isOrigin(text) || text.startsWith('https:') || isLoopback(new URL(text).hostname.replace(/^\[|\]$/g, '')),
  'must be https: keys travel in its answers. http only to this machine'
)
const hostName = z.string().regex(/^[A-Za-z0-9.-]{1,253}$/, 'must be the name of a host')

function vaultTransit({ path, secret }: SourcedTypes) {
  const mount = (method: string) => vaultPath.default(method)
  const auth = z.discriminatedUnion('method', [
    z.strictObject({ method: z.literal('token'), token: secret.optional(), tokenFile: path.optional() }).refine(
      ({ token, tokenFile }) => (token === undefined) !== (tokenFile === undefined),
      { path: ['token'], error: 'give either token or tokenFile' }
    ),
    z.strictObject({
      method: z.literal('approle'),
      mount: mount('approle'),
      roleId: secret,
      secretId: secret.optional(),
      secretIdFile: path.optional()
    }).refine(({ secretId, secretIdFile }) => secretId === undefined || secretIdFile === undefined, {
      path: ['secretId'],
      error: 'give either secretId or secretIdFile, or none where the role binds none'
    }),
    z.strictObject({
      method: z.literal('kubernetes'),
      mount: mount('kubernetes'),
      role: name,
      jwtFile: path.default('/var/run/secrets/kubernetes.io/serviceaccount/token')
    }),
    z.strictObject({ method: z.literal('jwt'), mount: mount('jwt'), role: name, jwtFile: path }),
    z.strictObject({ method: z.literal('cert'), mount: mount('cert'), role: name.nullable().default(null), cert: path, key: path }),
    z.strictObject({ method: z.literal('agent') })
  ], { error: 'must be token, approle, kubernetes, jwt, cert or agent' })
  return z.strictObject({
    type: z.literal('vault-transit'),
    address: z.union([secureOrigin, z.array(secureOrigin).min(1).max(8)], { error: 'must be https://HOST[:PORT], or a list of them' }),
    service: name.default('vault'),
    namespace: vaultPath.nullable().default(null),
    mount: vaultPath.default('transit'),
    key: name,
    ca: path.nullable().default(null),
    serverName: hostName.nullable().default(null),
    auth
  })
}

const oneLine = z.string().regex(/^[\x20-\x7e]{1,64}$/, 'must be 1 to 64 characters of ASCII')

function pkcs11({ path, secret }: SourcedTypes) {
  return z.strictObject({
    type: z.literal('pkcs11'),
    module: path,
    token: z.union([z.strictObject({ label: oneLine }), z.strictObject({ serial: oneLine })], {
      error: 'must be { label: TEXT } or { serial: TEXT }, texts in quotes'
    }),
    pin: secret,
    service: name.default('hsm'),
    label: name,
    versions: z.array(z.strictObject({
      id: z.string('must be a text in quotes, with hexadecimal digits').regex(/^([0-9a-f]{2}){1,32}$/, 'must be hexadecimal digits in pairs, in lower case'),
      state: z.enum(['enabled', 'decrypt-only', 'disabled']).default('enabled')
    })).min(1).refine((versions) => new Set(versions.map(({ id }) => id)).size === versions.length, 'must not name a version twice'),
    mechanism: z.enum(['aes-gcm', 'hmac-sha256']).default('aes-gcm'),
    extractable: z.boolean().default(false)
  })
}

/** How an HTTPS key service is reached, beside its address. */
function reached({ path }: SourcedTypes) {
  return {
    endpoint: secureOrigin.nullable().default(null),
    ca: path.nullable().default(null),
    serverName: hostName.nullable().default(null)
  }
}

function gcpKms(types: SourcedTypes) {
  const { path } = types
  return z.strictObject({
    type: z.literal('gcp-kms'),
    key: z.string().regex(
      /^projects\/([a-z0-9.-]{1,63}:)?[a-z][a-z0-9-]{4,28}[a-z0-9]\/locations\/[a-z0-9-]{1,63}\/keyRings\/[A-Za-z0-9_-]{1,63}\/cryptoKeys\/[A-Za-z0-9_-]{1,63}$/,
      'must be projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY, with the id of the project and not its number'
    ),
    ...reached(types),
    auth: z.discriminatedUnion('method', [
      z.strictObject({ method: z.literal('default') }),
      z.strictObject({ method: z.literal('file'), file: path }),
      z.strictObject({ method: z.literal('token'), tokenFile: path })
    ], { error: 'must be default, file or token' }).default({ method: 'default' })
  })
}

/** Ids of applications and tenants, and names of tenants. */
const azureId = z.string().regex(/^[A-Za-z0-9.-]{1,253}$/, 'must be the id of a tenant or application')

function azureKeyVault(types: SourcedTypes) {
  const { path, secret } = types
  const authority = secureOrigin.nullable().default(null)
  return z.strictObject({
    type: z.literal('azure-key-vault'),
    vault: secureOrigin.refine(
      (text) => !isOrigin(text) || new URL(text).hostname.includes('.'),
      'must be https://NAME.vault.azure.net, or the address of a Managed HSM'
    ),
    key: z.string().regex(/^[A-Za-z0-9-]{1,127}$/, 'must be 1 to 127 letters, digits or "-"'),
    algorithm: z.enum(['RSA-OAEP-256', 'A256KW']).default('RSA-OAEP-256'),
    resource: secureOrigin.nullable().default(null),
    ...reached(types),
    auth: z.discriminatedUnion('method', [
      z.strictObject({ method: z.literal('default') }),
      z.strictObject({ method: z.literal('managed-identity'), clientId: azureId.nullable().default(null) }),
      z.strictObject({
        method: z.literal('workload-identity'),
        tenantId: azureId.nullable().default(null),
        clientId: azureId.nullable().default(null),
        tokenFile: path.nullable().default(null),
        authority
      }),
      z.strictObject({ method: z.literal('client-secret'), tenantId: azureId, clientId: azureId, clientSecret: secret, authority }),
      z.strictObject({ method: z.literal('token'), tokenFile: path })
    ], { error: 'must be default, managed-identity, workload-identity, client-secret or token' }).default({ method: 'default' })
  })
}

const hostAndPort = z.string().regex(/^([A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):[0-9]{1,5}$/, 'must be HOST:PORT')

function kmip({ path }: SourcedTypes) {
  return z.strictObject({
    type: z.literal('kmip'),
    address: z.union([hostAndPort, z.array(hostAndPort).min(1).max(8)], { error: 'must be HOST:PORT, or a list of them' }),
    service: name.default('kmip'),
    label: name,
    versions: z.array(z.strictObject({
      id: z.string('must be a text in quotes').regex(/^[A-Za-z0-9._-]{1,128}$/, 'must be 1 to 128 letters, digits, ".", "_" or "-"'),
      state: z.enum(['enabled', 'decrypt-only', 'disabled']).default('enabled')
    })).min(1).refine((versions) => new Set(versions.map(({ id }) => id)).size === versions.length, 'must not name a version twice'),
    ca: path.nullable().default(null),
    cert: path,
    key: path,
    serverName: hostName.nullable().default(null)
  })
}

/** The description that a client has given its key: `x-amz-matdesc` of the objects. */
const description = z.record(z.string(), z.string()).default({})

function s3ecAes({ secret }: SourcedTypes) {
  return z.strictObject({
    type: z.literal('s3ec-aes'),
    masterKey: secret.refine((text) => [16, 24, 32].includes(base64Bytes(text)), 'must be 16, 24 or 32 bytes in base64'),
    description
  })
}

/** -1: it is none. */
function base64Bytes(text: string): number {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes.length : -1
}

function s3ecRsa({ secret }: SourcedTypes) {
  return z.strictObject({ type: z.literal('s3ec-rsa'), privateKey: secret, description })
}

/** The options of every kind of key. What a kind is, `kinds` of keys/configured-key.ts says. */
export function keySchema(types: SourcedTypes) {
  const kinds = [
    local(types),
    awsKms(types),
    vaultTransit(types),
    pkcs11(types),
    gcpKms(types),
    azureKeyVault(types),
    kmip(types),
    s3ecAes(types),
    s3ecRsa(types)
  ] as const
  return z.discriminatedUnion('type', kinds, {
    error: 'must be local, aws-kms, vault-transit, pkcs11, gcp-kms, azure-key-vault, kmip, s3ec-aes or s3ec-rsa'
  })
}

/** The options of a key as the rest of the program has them. */
export function keyConfig(key: z.output<ReturnType<typeof keySchema>>): KeyConfig {
  switch (key.type) {
    case 'local':
      return key
    case 'gcp-kms':
      return { ...key, endpoint: originOf(key.endpoint) }
    case 'kmip': {
      const { address, ...rest } = key
      return { ...rest, addresses: [address].flat() }
    }
    case 'azure-key-vault': {
      const { auth } = key
      return {
        ...key,
        vault: new URL(key.vault).origin,
        endpoint: originOf(key.endpoint),
        resource: originOf(key.resource),
        auth: auth.method === 'client-secret' ? conceal(auth) : auth
      }
    }
    case 'pkcs11':
    case 's3ec-aes':
    case 's3ec-rsa':
      return conceal(key)
    case 'aws-kms': {
      const { accessKeyId, secretAccessKey, sessionToken, credentials, ...rest } = key
      const given = credentials === undefined && accessKeyId !== undefined && secretAccessKey !== undefined
      return { ...rest, credentials: given ? conceal({ accessKeyId, secretAccessKey, sessionToken }) : 'aws' }
    }
    case 'vault-transit': {
      const { address, auth, ...rest } = key
      return { ...rest, addresses: [address].flat().map((text) => new URL(text).origin), auth: vaultAuth(auth) }
    }
  }
}

function vaultAuth(auth: z.output<ReturnType<typeof vaultTransit>>['auth']): VaultAuth {
  switch (auth.method) {
    case 'token':
      return conceal({ ...auth, token: auth.token ?? null, tokenFile: auth.tokenFile ?? null })
    case 'approle':
      return conceal({ ...auth, secretId: auth.secretId ?? null, secretIdFile: auth.secretIdFile ?? null })
    case 'kubernetes':
    case 'jwt':
    case 'cert':
    case 'agent':
      return auth
  }
}

function originOf(text: string | null): string | null {
  return text === null ? null : new URL(text).origin
}

export function isOrigin(text: string): boolean {
  if (!/^https?:\/\/[^/?#@]+\/?$/.test(text)) return false
  return URL.canParse(text)
}
