import { readFile, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import type { Config } from '../config/config.ts'
import { isLoopback } from '../config/loopback.ts'
import { isMap, readTree, type ConfigFault } from '../config/tree.ts'
import { expiryOf, readTls } from '../listener/tls.ts'

const DAY_MS = 86_400_000
const EXPIRY_DAYS = 14

/** Shorter secrets can be guessed from one signed request by brute force (AWS's have 40 letters). */
const SECRET_LENGTH = 16

/**
 * Weaknesses of a deployment, in addition to those of policies (`configWarnings`): networks without TLS, secrets that
 * can be guessed or read by others, a certificate that expires. Quotes no secrets.
 */
export async function deploymentWarnings(config: Config, file: string, now = new Date()): Promise<ConfigFault[]> {
  return [...exposed(config), ...weak(config), ...await openFiles(config, file), ...await expiring(config, now)]
}

/** Settings that let others see or forge more than the defaults do. */
function exposed({ listen, upstreams, auth, buckets, log }: Config): ConfigFault[] {
  const found: ConfigFault[] = []
  const warn = (path: string, message: string): void => {
    found.push({ path, message })
  }
  if (listen.tls === null && !isLoopback(listen.host)) {
    warn('listen.host', 'plain HTTP beyond this machine: objects are readable on the network between clients and gateway')
  }
  for (const { section, endpoint } of Object.values(upstreams)) {
    const { hostname, protocol } = new URL(endpoint)
    if (protocol === 'http:' && !isLoopback(hostname)) {
      warn(`${section}.endpoint`, 'plain HTTP: names, sizes and metadata are readable on the network between gateway and store')
    }
  }
  if (auth.ssecOverHttp) warn('auth.ssecOverHttp', 'keys of clients may cross the network unencrypted')
  if (listen.trustedProxies.some((range) => range.endsWith('/0'))) warn('listen.trustedProxies', 'every address is believed to be a front end with TLS')
  for (const [pattern, policy] of buckets) {
    if (policy.encryption === 'on' && policy.plaintext === 'allow') {
      warn(`buckets.${pattern}.plaintext`, 'allow: everybody who can write to the store can put objects there that clients will trust')
    }
  }
  if (log.level === 'silent') warn('log.level', 'silent: the reasons of failures are not logged')
  return found
}

function weak({ clients }: Config): ConfigFault[] {
  return clients.flatMap(({ secretAccessKey }, i) =>
    secretAccessKey.length >= SECRET_LENGTH
      ? []
      : [{ path: `clients.${i}.secretAccessKey`, message: `has fewer than ${SECRET_LENGTH} letters: it can be guessed from one signed request` }]
  )
}

/** Files that hold secrets and that every user of the machine can read. */
async function openFiles({ listen: { tls } }: Config, file: string): Promise<ConfigFault[]> {
  const { inline, files } = secretsIn(await readFile(file, 'utf8').catch(() => ''))
  const wanted = [
    ...files.map(({ path, name }) => ({ path, name: resolve(dirname(file), name) })),
    ...inline.slice(0, 1).map((path) => ({ path, name: file })),
    ...tls === null ? [] : [{ path: 'listen.tls.key', name: tls.key }]
  ]
  const open = await Promise.all(wanted.map(async ({ path, name }) =>
    await isOpenToAll(name)
      ? [{ path, message: `every user of this machine can read ${name}, which holds a secret: chmod o-r` }]
      : []
  ))
  return open.flat()
}

/** Paths of secrets that are written in the text itself, and files that contain others, as they are written. */
function secretsIn(text: string): { readonly inline: readonly string[]; readonly files: readonly { readonly path: string; readonly name: string }[] } {
  const inline: string[] = []
  const files: { path: string; name: string }[] = []
  const walk = (value: unknown, path: string, option: string): void => {
    if (['secretAccessKey', 'sessionToken', 'accessKeyId', 'pin'].includes(option)) {
      if (typeof value === 'string' && option !== 'accessKeyId' && !/^\$\{[^}]*\}$/.test(value)) inline.push(path)
      if (isMap(value) && typeof value['file'] === 'string' && !value['file'].includes('${')) files.push({ path, name: value['file'] })
      return
    }
    const entries = Array.isArray(value) ? value.map((item: unknown, i) => [String(i), item] as const) : isMap(value) ? Object.entries(value) : []
    for (const [name, item] of entries) walk(item, path === '' ? name : `${path}.${name}`, name)
  }
  walk(readTree(text, []), '', '')
  return { inline, files }
}

async function expiring({ listen: { tls } }: Config, now: Date): Promise<ConfigFault[]> {
  // Files that cannot be read are reported by `checkFiles`.
  const material = tls === null ? null : await readTls(tls).catch(() => null)
  if (material === null) return []
  const expiry = expiryOf(material) * 1000
  const days = Math.floor((expiry - now.getTime()) / DAY_MS)
  if (days >= EXPIRY_DAYS) return []
  const date = new Date(expiry).toISOString().slice(0, 10)
  return [{ path: 'listen.tls.cert', message: days < 0 ? `expired on ${date}` : `expires on ${date}, in ${days} days` }]
}

/** True for a file that every user of the machine can read; false where there is none. */
export async function isOpenToAll(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => null)
  return found !== null && (found.mode & 0o004) !== 0
}
