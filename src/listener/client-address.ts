import type { IncomingMessage } from 'node:http'
import { BlockList, isIP, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

/** Where the address of a client is taken from, behind a front end. `peer`: from the connection itself. */
export type ClientAddressSource = 'peer' | 'x-forwarded-for' | 'forwarded' | 'proxy-protocol'

/** IPv4 clients of a dual-stack socket appear as `::ffff:a.b.c.d`. */
export function plainAddress(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '')
}

/**
 * Front ends that are in front of the gateway. What they say of the client is believed: whether it used TLS (X-Forwarded-Proto), and, where the
 * configuration says so, its address.
 */
export class TrustedProxies {
  readonly #list = new BlockList()
  readonly #empty: boolean
  readonly #from: ClientAddressSource

  /** @param entries addresses or CIDR ranges, valid ones. */
  constructor(entries: readonly string[], from: ClientAddressSource = 'peer') {
    this.#empty = entries.length === 0
    this.#from = from
    for (const entry of entries) {
      const [address = '', prefix] = entry.split('/')
      if (prefix === undefined) this.#list.addAddress(address, family(address))
      else this.#list.addSubnet(address, Number(prefix), family(address))
    }
  }

  /** @param address as `plainAddress` gives it. */
  has(address: string): boolean {
    return !this.#empty && isIP(address) !== 0 && this.#list.check(address, family(address))
  }

  /** True when the client used TLS, to the gateway or to a trusted front end. */
  secure(req: IncomingMessage): boolean {
    if (req.socket instanceof TLSSocket) return true
    if (!this.has(plainAddress(req.socket.remoteAddress))) return false
    return valuesOf(req.rawHeaders, 'x-forwarded-proto')[0]?.toLowerCase() === 'https'
  }

  /**
   * The address of the client, from the headers of a trusted front end where the configuration says so: the last that is no trusted front end, which
   * a trusted one has seen. That before it anybody can have written. The peer's own where the headers lack, or are malformed up to there.
   * @param rawHeaders names and values by turns. @param peer address of the other side of the connection.
   */
  client(rawHeaders: readonly string[], peer: string): string {
    const from = this.#from
    if ((from !== 'x-forwarded-for' && from !== 'forwarded') || !this.has(peer)) return peer
    let last = peer
    for (const line of valuesOf(rawHeaders, from).toReversed()) {
      for (let end = line.length; end >= 0;) {
        const comma = end === 0 ? -1 : line.lastIndexOf(',', end - 1)
        const element = line.slice(comma + 1, end).trim()
        end = comma
        // Lists may have empty elements (RFC 9110 5.6.1).
        if (element === '') continue
        const address = addressIn(from === 'forwarded' ? forwardedFor(element) : element)
        if (address === null) return peer
        if (!this.has(address)) return address
        last = address
      }
    }
    return last
  }
}

/** The other side of a connection as the server sees it: until it is closed no other has the same. */
export function connectionId({ localAddress, localPort, remoteAddress, remotePort }: Socket): string {
  return [localAddress, localPort, remoteAddress, remotePort].join(' ')
}

/** Values of all lines of a header, in order. */
function valuesOf(rawHeaders: readonly string[], wanted: string): string[] {
  return rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === wanted)
}

/**
 * The parameter `for` of one element of Forwarded (RFC 7239 4), without quotes. null: it has none, two, or one that cannot be read. A comma or
 * semicolon within quotes makes an element of which a half is seen here, with one quote too many: no address has such.
 */
function forwardedFor(element: string): string | null {
  let found: string | null = null
  for (const pair of element.split(';')) {
    const [, name = '', token, quoted] = /^\s*([!#$%&'*+.^_`|~0-9A-Za-z-]{1,64})=(?:([!#$%&'*+.^_`|~0-9A-Za-z-]+)|"([^"\\]*)")\s*$/.exec(pair) ?? []
    if (name === '') return null
    if (name.toLowerCase() !== 'for') continue
    if (found !== null) return null
    found = token ?? quoted ?? ''
  }
  return found
}

/** An address that may have a port behind it: `1.2.3.4`, `1.2.3.4:5`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:5`. null: it is none. */
function addressIn(text: string | null): string | null {
  if (text === null || text.length > 64) return null
  const [, v4, bracketed, bare] = /^(?:(\d+\.\d+\.\d+\.\d+)(?::\d{1,5})?|\[([0-9a-fA-F:.]+)\](?::\d{1,5})?|([0-9a-fA-F:.]+))$/.exec(text) ?? []
  const address = v4 ?? bracketed ?? bare ?? ''
  if (isIP(address) === 0 || (bracketed !== undefined && isIP(address) !== 6)) return null
  return plainAddress(address.toLowerCase())
}

function family(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4'
}
