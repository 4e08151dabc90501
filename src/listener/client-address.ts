import type { IncomingMessage } from 'node:http'
import { BlockList, isIP } from 'node:net'
import { TLSSocket } from 'node:tls'

/** IPv4 clients of a dual-stack socket appear as `::ffff:a.b.c.d`. */
export function plainAddress(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/, '')
}

/** Front ends that terminate TLS. Only their X-Forwarded-Proto is trusted, and only for whether the client used TLS. */
export class TrustedProxies {
  readonly #list = new BlockList()
  readonly #empty: boolean

  /** @param entries addresses or CIDR ranges, valid ones. */
  constructor(entries: readonly string[]) {
    this.#empty = entries.length === 0
    for (const entry of entries) {
      const [address = '', prefix] = entry.split('/')
      if (prefix === undefined) this.#list.addAddress(address, family(address))
      else this.#list.addSubnet(address, Number(prefix), family(address))
    }
  }

  /** True when the client used TLS, to the gateway or to a trusted front end. */
  secure(req: IncomingMessage): boolean {
    if (req.socket instanceof TLSSocket) return true
    if (this.#empty) return false
    const address = plainAddress(req.socket.remoteAddress)
    if (!this.#list.check(address, family(address))) return false
    const at = req.rawHeaders.findIndex((name, i) => i % 2 === 0 && name.toLowerCase() === 'x-forwarded-proto')
    return at >= 0 && req.rawHeaders[at + 1]?.toLowerCase() === 'https'
  }
}

function family(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4'
}
