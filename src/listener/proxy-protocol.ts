// PROXY protocol 1 and 2: what a balancer of TCP says of a connection before its first byte ("The PROXY protocol", HAProxy).
import type { Server } from 'node:http'
import { isIPv4, isIPv6, type Socket } from 'node:net'

/** Bytes of the longest header of version 1 (2.1), with its line end. */
const MOST_V1 = 107
const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')
/** Bytes of version 2 before addresses and TLVs. */
const FIXED_V2 = 16
/** Bytes of addresses and TLVs: balancers send some hundred, with a certificate's names more. */
const MOST_V2 = 4096
/** `length`: bytes of the header. `source`: the client's address; null: the balancer speaks for itself, or of no IP address. */
type Parsed = 'incomplete' | 'malformed' | { readonly length: number; readonly source: string | null }

/** Reads a header at the beginning of `bytes`. Costs no more than 4 KiB. */
export function parseProxyHeader(bytes: Buffer): Parsed {
  const start = bytes.subarray(0, SIGNATURE.length)
  if (start.equals(SIGNATURE.subarray(0, start.length))) return bytes.length < FIXED_V2 ? 'incomplete' : parseV2(bytes)
  const word = bytes.toString('latin1', 0, 6)
  return word === 'PROXY '.slice(0, word.length) ? parseV1(bytes) : 'malformed'
}

function parseV1(bytes: Buffer): Parsed {
  const head = bytes.toString('latin1', 0, MOST_V1)
  const end = head.indexOf('\r\n')
  if (end < 0) return bytes.length < MOST_V1 && /^[\x20-\x7e]*\r?$/.test(head) ? 'incomplete' : 'malformed'
  const line = head.slice(0, end)
  const length = end + 2
  // What follows UNKNOWN is to be ignored (2.1).
  if (/^PROXY UNKNOWN( [\x20-\x7e]*)?$/.test(line)) return { length, source: null }
  const [, version, source = '', destination = '', ...ports] =
    /^PROXY TCP([46]) ([0-9a-fA-F:.]+) ([0-9a-fA-F:.]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})$/.exec(line) ?? []
  const valid = version === '4' ? isIPv4 : isIPv6
  if (version === undefined || !valid(source) || !valid(destination) || ports.some((port) => Number(port) > 65_535)) return 'malformed'
  return { length, source }
}

/** Bytes of addresses, by family and protocol: streams only, because the listener has no other (2.2). */
const families: Readonly<Record<number, { readonly bytes: number; readonly source: (at: Buffer) => string | null }>> = {
  0x00: { bytes: 0, source: () => null },
  0x11: { bytes: 12, source: (at) => at.subarray(0, 4).join('.') },
  0x21: { bytes: 36, source: (at) => Array.from({ length: 8 }, (_, i) => at.readUInt16BE(i * 2).toString(16)).join(':') },
  0x31: { bytes: 216, source: () => null }
}

function parseV2(bytes: Buffer): Parsed {
  const [command, family, rest] = [bytes.readUInt8(12), families[bytes.readUInt8(13)], bytes.readUInt16BE(14)]
  const local = command === 0x20
  if ((!local && command !== 0x21) || rest > MOST_V2) return 'malformed'
  // Of a connection of the balancer itself (LOCAL) the family is to be ignored.
  if (!local && (family === undefined || rest < family.bytes)) return 'malformed'
  const length = FIXED_V2 + rest
  if (bytes.length < length) return 'incomplete'
  // TLVs behind the addresses are passed over.
  return { length, source: local || family === undefined ? null : family.source(bytes.subarray(FIXED_V2, FIXED_V2 + family.bytes)) }
}

interface ProxyHeaderOptions {
  /** Milliseconds from the connection to the end of the header. Balancers send it with the first segment. */
  readonly deadlineMs: number
  /** Whether the other side of a connection is a balancer. Its connections must have the header; that of any other is an ordinary request. */
  readonly trusted: (socket: Socket) => boolean
  /** Called with the address that a header names. */
  readonly named: (socket: Socket, source: string) => void
  /** Called for a connection of a balancer that is closed because its header is malformed or late. */
  readonly refused: () => void
}

/** Has a server read the header of each connection of a balancer before anything else, TLS included. To be called before others listen. */
export function expectProxyHeaders(server: Server, { deadlineMs, trusted, named, refused }: ProxyHeaderOptions): void {
  const own = server.listeners('connection')
  server.removeAllListeners('connection')
  server.on('connection', (socket: Socket) => {
    const serve = (): void => {
      for (const listener of own) Reflect.apply(listener, server, [socket])
    }
    if (!trusted(socket)) {
      serve()
      return
    }
    const done = (source: string | null): void => {
      if (source !== null) named(socket, source)
      serve()
    }
    readHeader(socket, deadlineMs, done, refused)
  })
}

function readHeader(socket: Socket, deadlineMs: number, done: (source: string | null) => void, refused: () => void): void {
  let bytes: Buffer = Buffer.alloc(0)
  const end = (): void => {
    clearTimeout(timer)
    socket.off('readable', read)
    socket.off('end', gone)
    socket.off('close', end)
  }
  const refuse = (): void => {
    end()
    refused()
    socket.destroy()
  }
  const gone = (): void => {
    // A probe that connects and leaves is no fault.
    if (bytes.length > 0) refuse()
    else {
      end()
      socket.destroy()
    }
  }
  const read = (): void => {
    const chunk = socket.read() as Buffer | null
    if (chunk === null) return
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk])
    const parsed = parseProxyHeader(bytes)
    if (parsed === 'incomplete') return
    if (parsed === 'malformed') {
      refuse()
      return
    }
    end()
    if (bytes.length > parsed.length) socket.unshift(bytes.subarray(parsed.length))
    done(parsed.source)
  }
  const timer = setTimeout(refuse, deadlineMs)
  timer.unref()
  socket.on('error', () => undefined)
  socket.on('readable', read)
  socket.once('end', gone)
  socket.once('close', end)
}
