import { randomBytes } from 'node:crypto'
import { SigningSecret } from '../sigv4/secret.ts'
import type { Client } from './types.ts'

/** A client and the secret it signs with. */
export interface Credential {
  readonly client: Client
  readonly secret: SigningSecret
}

export type CredentialLookup = (accessKeyId: string) => Credential | undefined

/**
 * Makes the lookup of clients by access key id. The clients it gives out no longer carry their secret.
 * @param clients as configured; access key ids are unique (the configuration sees to it).
 */
export function credentialLookup(clients: readonly (Client & { readonly secretAccessKey: string })[]): CredentialLookup {
  const byId = new Map<string, Credential>()
  for (const { secretAccessKey, ...client } of clients) {
    byId.set(client.accessKeyId, { client, secret: new SigningSecret(secretAccessKey) })
  }
  return (accessKeyId) => byId.get(accessKeyId)
}

/**
 * Stands in for the secret of an unknown access key id, so that such a request goes through the same computation as one
 * with a wrong signature. Random: nobody can sign with it.
 */
export const noSecret = new SigningSecret(randomBytes(30).toString('base64'))
