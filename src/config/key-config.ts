/** How requests to the store or to a key service are signed. */
export type Credentials = 'aws' | { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken: string | null }

interface LocalConfig {
  readonly type: 'local'
  readonly keyring: string
}

interface AwsKmsConfig {
  readonly type: 'aws-kms'
  /** Key ARN; never taken from an object. */
  readonly arn: string
  /** Older ARNs that may still unwrap. */
  readonly decryptOnly: readonly string[]
  /** Aliases clients may use for it. */
  readonly aliases: readonly string[]
  readonly region: string | null
  /** Further regions with a replica of a multi-Region key, in the order in which they are asked when the one before does not answer. */
  readonly regions: readonly string[]
  readonly endpoint: string | null
  /** `aws`: the standard AWS credential chain with refresh. */
  readonly credentials: Credentials
}

/** A key of the Transit engine of OpenBao or HashiCorp Vault. */
export interface VaultConfig {
  readonly type: 'vault-transit'
  /** Servers of one cluster, each `https://HOST[:PORT]`, or plain HTTP to this machine. Another is asked where one does not answer. */
  readonly addresses: readonly string[]
  /** What key ids call this cluster, so that an address may change. */
  readonly service: string
  readonly namespace: string | null
  /** Path of the Transit engine, and of the login method's mount, without slashes at their ends. */
  readonly mount: string
  readonly key: string
  /** PEM file of the certificates that are trusted exclusively; null: those that Node trusts. */
  readonly ca: string | null
  /** Name that the certificate must have; null: the host of the address. */
  readonly serverName: string | null
  readonly auth: VaultAuth
}

/** How a token is obtained. Files are read at every login, because others renew them. */
export type VaultAuth =
  /** `token` or `tokenFile`. */
  | { readonly method: 'token'; readonly token: string | null; readonly tokenFile: string | null }
  | { readonly method: 'approle'; readonly mount: string; readonly roleId: string; readonly secretId: string | null; readonly secretIdFile: string | null }
  | { readonly method: 'kubernetes' | 'jwt'; readonly mount: string; readonly role: string; readonly jwtFile: string }
  /** PEM files of the client's certificate, which every connection shows. `role` null: the server looks for one that fits. */
  | { readonly method: 'cert'; readonly mount: string; readonly role: string | null; readonly cert: string; readonly key: string }
  /** The address is that of a local agent, which adds a token of its own to every request. */
  | { readonly method: 'agent' }

/** A key in a token that speaks PKCS#11. */
export interface Pkcs11Config {
  readonly type: 'pkcs11'
  /** Path of the module, a shared library. */
  readonly module: string
  readonly token: { readonly label: string } | { readonly serial: string }
  readonly pin: string
  /** What key ids call the token, so that keys may be renamed in the configuration. */
  readonly service: string
  /** CKA_LABEL of every version. */
  readonly label: string
  /** The oldest first, by CKA_ID in hexadecimal: the last one that is enabled wraps. */
  readonly versions: readonly { readonly id: string; readonly state: 'enabled' | 'decrypt-only' | 'disabled' }[]
  readonly mechanism: 'aes-gcm' | 'hmac-sha256'
  /** Takes keys that may leave the token under another key. */
  readonly extractable: boolean
}

/** Where and how an HTTPS key service is reached, beside its address. */
interface Reached {
  /** `https://HOST[:PORT]`, or plain HTTP to this machine; null: the service's own. */
  readonly endpoint: string | null
  /** PEM file of the certificates that are trusted exclusively; null: those that Node trusts. */
  readonly ca: string | null
  /** Name that the certificate must have; null: the host of the address. */
  readonly serverName: string | null
}

/** A token for the service that others keep in a file and renew. */
interface TokenInFile {
  readonly method: 'token'
  readonly tokenFile: string
}

/** A symmetric key of Google Cloud KMS. */
export interface GcpConfig extends Reached {
  readonly type: 'gcp-kms'
  /** `projects/P/locations/L/keyRings/R/cryptoKeys/K`. */
  readonly key: string
  /** `file`: JSON of a service account or of a workload identity federation. */
  readonly auth: { readonly method: 'default' } | { readonly method: 'file'; readonly file: string } | TokenInFile
}

/** A key of Azure Key Vault or Managed HSM. */
export interface AzureConfig extends Reached {
  readonly type: 'azure-key-vault'
  /** `https://NAME.vault.azure.net`: its host stands in key ids, also where `endpoint` is another. */
  readonly vault: string
  readonly key: string
  readonly algorithm: 'RSA-OAEP-256' | 'A256KW'
  /** What tokens are for; null: it follows from `vault`. */
  readonly resource: string | null
  readonly auth:
    | { readonly method: 'default' }
    /** `clientId` null: the identity that the machine has. */
    | { readonly method: 'managed-identity'; readonly clientId: string | null }
    /** null: from the environment that Kubernetes gives to a pod. */
    | {
      readonly method: 'workload-identity'
      readonly tenantId: string | null
      readonly clientId: string | null
      readonly tokenFile: string | null
      readonly authority: string | null
    }
    | {
      readonly method: 'client-secret'
      readonly tenantId: string
      readonly clientId: string
      readonly clientSecret: string
      readonly authority: string | null
    }
    | TokenInFile
}

/** An AES key of a KMIP server. */
export interface KmipConfig {
  readonly type: 'kmip'
  /** Servers of one cluster, each `HOST:PORT`. Another is asked where one does not answer. */
  readonly addresses: readonly string[]
  /** What key ids call the cluster, so that an address may change. */
  readonly service: string
  /** What key ids call the key: its versions are objects of their own at the server. */
  readonly label: string
  /** The oldest first, by unique identifier: the last one that is enabled wraps. */
  readonly versions: readonly { readonly id: string; readonly state: 'enabled' | 'decrypt-only' | 'disabled' }[]
  /** PEM files: certificates that are trusted exclusively (null: those that Node trusts), and those of the client. */
  readonly ca: string | null
  readonly cert: string
  readonly key: string
  /** Name that the certificate must have; null: the host of the address. */
  readonly serverName: string | null
}

interface S3ecConfig {
  /** Of objects that it opens: their material description. Compared as a whole. */
  readonly description: Readonly<Record<string, string>>
}

/** An AES master key of the S3 Encryption Client. It opens data keys and seals nothing. */
export interface S3ecAesConfig extends S3ecConfig {
  readonly type: 's3ec-aes'
  /** In base64: 16, 24 or 32 bytes. */
  readonly masterKey: string
}

/** An RSA key pair of the S3 Encryption Client. It opens data keys and seals nothing. */
export interface S3ecRsaConfig extends S3ecConfig {
  readonly type: 's3ec-rsa'
  /** PEM. */
  readonly privateKey: string
}

export type KeyConfig = LocalConfig | AwsKmsConfig | VaultConfig | Pkcs11Config | GcpConfig | AzureConfig | KmipConfig | S3ecAesConfig | S3ecRsaConfig
