// The section `audit` of the configuration file.
import { z } from 'zod'
import { isLoopback } from './loopback.ts'
import { bytes, seconds } from './units.ts'

type Text = z.ZodType<string>

const MIB = 1024 * 1024

/** @param path resolves a path. @param name of a key. */
export function auditSection(path: Text, name: Text) {
  return z.strictObject({
    file: path.nullable().default(null),
    key: name.nullable().default(null),
    checkpointSeconds: seconds({ min: 1 }).default(60),
    sync: z.boolean().default(false),
    sinks: z.array(sinkSection(path)).max(4, 'may have 4 at most').default([])
  }).prefault({})
}

function sinkSection(path: Text) {
  return z.strictObject({
    url: z.string().refine(isSink, 'must be udp://, tcp:// or tls://HOST:PORT, unix:///PATH, or a URL of http or https, without credentials'),
    ca: path.nullable().default(null),
    tokenFile: path.nullable().default(null),
    whenDown: z.enum(['buffer', 'refuse']).default('buffer'),
    bufferBytes: bytes({ min: MIB, max: 1024 * MIB }).default(16 * MIB)
  }).refine(({ url, tokenFile }) => tokenFile === null || tokenMayGo(url), { path: ['tokenFile'], message: 'needs https, or http to this machine' })
}

function isSink(text: string): boolean {
  if (!URL.canParse(text) || /[@#]/.test(text)) return false
  const { protocol, pathname, port, hostname } = new URL(text)
  if (protocol === 'unix:') return hostname === '' && pathname.length > 1
  if (protocol === 'http:' || protocol === 'https:') return true
  return ['udp:', 'tcp:', 'tls:'].includes(protocol) && hostname !== '' && port !== '' && ['', '/'].includes(pathname)
}

/** A token is a credential: only TLS, or this machine alone, sees it. */
function tokenMayGo(url: string): boolean {
  if (!URL.canParse(url)) return true
  const { protocol, hostname } = new URL(url)
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname.replace(/^\[|\]$/g, '')))
}
