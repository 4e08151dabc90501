// The OpenBao that openbao.sh has started, as its administrator sees it.
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import process from 'node:process'
import { Pool } from 'undici'
import type { VaultAuth, VaultConfig } from '../../src/config/key-config.ts'

function given(name: string): string {
  const value = process.env[name]
  if (value === undefined) throw new Error(`${name} is not set: run this by test/e2e/openbao.sh`)
  return value
}

/** The name in the server's certificate: its address is an IP address. */
export const serverName = 'bao.test'
export const ca = given('VAULT_CACERT')
export const folder = given('BAO_FOLDER')
export const caKey = given('BAO_CA_KEY')
const address = given('VAULT_ADDR')
const auditFile = given('BAO_AUDIT')
const unsealKey = given('BAO_UNSEAL_KEY')
const root = given('VAULT_TOKEN')
const pool = new Pool(address, { connect: { ca: readFileSync(ca), servername: serverName } })

/** A request of the administrator. @throws Error for any answer but 2xx. */
export async function admin(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body: object = {}): Promise<{ data: Record<string, unknown> }> {
  const answer = await pool.request({
    method,
    path: `/v1/${path}`,
    headers: { 'x-vault-token': root },
    body: method === 'GET' || method === 'DELETE' ? null : JSON.stringify(body)
  })
  const text = await answer.body.text()
  if (answer.statusCode >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${text}`)
  return text === '' ? { data: {} } : JSON.parse(text) as { data: Record<string, unknown> }
}

export async function seal(): Promise<void> {
  await admin('PUT', 'sys/seal')
}

/** Opens it, and waits until it serves. */
export async function unseal(): Promise<void> {
  await admin('PUT', 'sys/unseal', { key: unsealKey })
  for (let i = 0; i < 200; i += 1) {
    if (await admin('GET', 'sys/health').then(() => true, () => false)) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('OpenBao does not serve.')
}

/**
 * What the gateway needs, and no more (docs/KEYS.md).
 * @param context also the right to change the context of a wrap, which no command needs. @param at a namespace and `/`
 */
export async function policy(key: string, context = false, at = ''): Promise<string> {
  const actions = ['datakey/plaintext', 'decrypt', 'rewrap', ...context ? ['encrypt'] : []]
  const text = [
    `path "transit/keys/${key}" { capabilities = ["read"] }`,
    ...actions.map((action) => `path "transit/${action}/${key}" { capabilities = ["update"] }`)
  ]
  await admin('PUT', `${at}sys/policies/acl/${key}`, { policy: text.join('\n') })
  return key
}

/** A derived key with its policy. @returns its name */
export async function newKey(options: object = {}): Promise<string> {
  const name = `k${randomBytes(4).toString('hex')}`
  await admin('POST', `transit/keys/${name}`, { type: 'aes256-gcm96', derived: true, ...options })
  return policy(name)
}

export async function enable(what: 'mounts' | 'auth', type: string): Promise<void> {
  await admin('POST', `sys/${what}/${type}`, { type })
}

/** A role for a key. @param at a namespace and `/` @returns how the gateway logs in */
export async function appRole(key: string, options: object = {}, at = ''): Promise<VaultAuth> {
  await admin('POST', `${at}auth/approle/role/${key}`, { token_policies: [key], token_ttl: '1h', ...options })
  const { data: { role_id: roleId } } = await admin('GET', `${at}auth/approle/role/${key}/role-id`)
  const { data: { secret_id: secretId } } = await admin('POST', `${at}auth/approle/role/${key}/secret-id`)
  return { method: 'approle', mount: 'approle', roleId: String(roleId), secretId: String(secretId), secretIdFile: null }
}

/** A token that may destroy a key, and use it for nothing (docs/PERMISSIONS.md, To destroy a key). */
export async function destroyerOf(key: string): Promise<VaultAuth> {
  const name = `destroy-${key}`
  const text = [
    `path "transit/keys/${key}" { capabilities = ["read", "delete"] }`,
    `path "transit/keys/${key}/config" { capabilities = ["update"] }`
  ]
  await admin('PUT', `sys/policies/acl/${name}`, { policy: text.join('\n') })
  const { auth } = await admin('POST', 'auth/token/create', { policies: [name], ttl: '1h' }) as unknown as { auth: { client_token: string } }
  return { method: 'token', token: auth.client_token, tokenFile: null }
}

export function configOf(key: string, auth: VaultAuth): VaultConfig {
  return { type: 'vault-transit', addresses: [address], service: 'vault', namespace: null, mount: 'transit', key, ca, serverName, auth }
}

/** The same for a configuration file. */
export function sectionOf(key: string, auth: VaultAuth): object {
  const { addresses, ...rest } = configOf(key, Object.fromEntries(Object.entries(auth).filter(([, value]) => value !== null)) as unknown as VaultAuth)
  const section = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== null))
  return { ...section, address: addresses }
}

interface AuditLine {
  readonly type: 'request' | 'response'
  readonly request: { readonly path: string; readonly operation: string }
  readonly response?: { readonly data?: Record<string, unknown> }
  readonly error?: string
}

/** What the server's own audit log says since the last time. */
let read = 0
export function audited(): AuditLine[] {
  const text = readFileSync(auditFile, 'utf8')
  const fresh = text.slice(read)
  read = text.length
  return fresh.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as AuditLine)
}

/** Number of answered requests by path, without the names of keys. */
export function counted(lines: readonly AuditLine[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const { type, request: { path } } of lines) {
    if (type !== 'response' || path.startsWith('sys/')) continue
    const what = path.replace(/\/k[0-9a-f]{8}.*$/, '')
    counts[what] = (counts[what] ?? 0) + 1
  }
  return counts
}

export async function close(): Promise<void> {
  await pool.destroy()
}
