import { once } from 'node:events'
import { STATUS_CODES } from 'node:http'
import { buffer } from 'node:stream/consumers'
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { HttpRequest, HttpResponse } from '../../src/http/message.ts'

/** An answer with its whole body in memory. The head may say of the body what it likes. */
export interface WholeAnswer {
  readonly status: number
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: Buffer
}

/** What goes wrong instead of, before, or in the answer. Offsets and sizes in bytes; negative offsets count from the end. */
export type Fault =
  // The request is not carried out.
  | { readonly type: 'refuse' }
  | {
    readonly type: 'answer'
    readonly status: number
    readonly headers?: readonly (readonly [string, string])[]
    readonly body?:
      | string
      | Buffer
  }
  | { readonly type: 'error'; readonly status: number; readonly code: string; readonly message?: string }
  | { readonly type: 'redirect'; readonly status: 301 | 302 | 303 | 307 | 308; readonly location: string }
  | { readonly type: 'garbage'; readonly bytes?: Buffer }
  // The connection breaks or stops. `before`: the request is not read, let alone carried out. Later: it is carried out, and
  // the answer gets as far as nothing, half its head, its whole head, or `bytes` of its body.
  | { readonly type: 'reset' | 'stall'; readonly at: 'before' | 'after-request' | 'mid-head' | 'after-head' }
  | { readonly type: 'reset' | 'stall'; readonly at: 'mid-body'; readonly bytes: number }
  | { readonly type: 'mid-upload'; readonly bytes: number; readonly then: 'reset' | 'stall' }
  // The request is carried out, and the answer is late, or not what it ought to be.
  | { readonly type: 'delay'; readonly milliseconds: number }
  // The whole request is taken in, and carried out when this settles, whether or not somebody still waits for the answer.
  | { readonly type: 'late'; readonly until: () => Promise<unknown> }
  // The request is carried out, and the last byte of its answer waits until this settles.
  | { readonly type: 'held-end'; readonly until: () => Promise<unknown> }
  // The request is carried out, and the answer begins at once and goes on with so many white spaces (AWS API, CopyObject).
  | { readonly type: 'white-space'; readonly count: number; readonly everyMs: number }
  | { readonly type: 'lost-answer'; readonly status: number; readonly code: string }
  | { readonly type: 'headers'; readonly set?: Readonly<Record<string, string | null>>; readonly add?: readonly (readonly [string, string])[] }
  | { readonly type: 'content-length'; readonly value: number }
  | { readonly type: 'truncate'; readonly bytes: number }
  | { readonly type: 'close-delimited'; readonly bytes?: number }
  | { readonly type: 'extra'; readonly bytes: Buffer; readonly where: 'in-body' | 'after-response' }
  | { readonly type: 'flip'; readonly offset: number | 'random'; readonly bit?: number }
  | { readonly type: 'shift'; readonly by: number }
  | { readonly type: 'substitute'; readonly bucket?: string; readonly key: string; readonly what: 'body' | 'metadata' | 'both' }
  | { readonly type: 'older'; readonly back?: number; readonly what: 'body' | 'metadata' | 'both' }
  | {
    readonly type: 'rows'
    readonly element: string
    readonly change: 'drop' | 'repeat' | 'reverse' | ((row: string, index: number) => string)
    readonly index?: number
  }
  | { readonly type: 'transform'; readonly change: (answer: WholeAnswer, request: HttpRequest) => WholeAnswer }

export async function wholeAnswer(answer: HttpResponse): Promise<WholeAnswer> {
  const body = answer.body === null ? Buffer.alloc(0) : Buffer.isBuffer(answer.body) ? answer.body : await buffer(answer.body)
  return { status: answer.status, headers: answer.headers, body }
}

/** The same answer with other header fields; null removes one. Content-Length is not looked at. */
export function withHeaders(answer: WholeAnswer, set: Readonly<Record<string, string | null>>): WholeAnswer {
  const names = new Set(Object.keys(set).map((name) => name.toLowerCase()))
  const added = Object.entries(set).flatMap(([name, value]) => value === null ? [] : [[name, value] as const])
  return { ...answer, headers: [...answer.headers.filter(([name]) => !names.has(name.toLowerCase())), ...added] }
}

/** The same answer with another body, and the Content-Length of it. */
export function withBody(answer: WholeAnswer, body: Buffer): WholeAnswer {
  return withHeaders({ ...answer, body }, { 'Content-Length': String(body.length) })
}

export function flipBit(body: Buffer, offset: number, bit: number): Buffer {
  const flipped = Buffer.from(body)
  const at = offset < 0 ? flipped.length + offset : offset
  const byte = flipped[at]
  if (byte === undefined) throw new RangeError(`no byte ${offset} in a body of ${body.length}`)
  flipped[at] = byte ^ (1 << bit)
  return flipped
}

/** Drops, repeats, reorders or rewrites the elements of a list in an XML document. */
export function changeRows(xml: string, { element, change, index }: Extract<Fault, { type: 'rows' }>): string {
  const pattern = new RegExp(`<${element}>.*?</${element}>`, 'gs')
  const rows = xml.match(pattern) ?? []
  const chosen = (i: number): boolean => index === undefined || i === (index < 0 ? rows.length + index : index)
  let i = -1
  return xml.replace(pattern, (row) => {
    i += 1
    if (change === 'reverse') return rows[rows.length - 1 - i] ?? ''
    if (!chosen(i)) return row
    return change === 'drop' ? '' : change === 'repeat' ? row + row : change(row, i)
  })
}

/** Status line and header fields as bytes. */
export function headBytes({ status, headers }: Pick<WholeAnswer, 'status' | 'headers'>): Buffer {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`)
  return Buffer.from(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}\r\n${lines.join('')}\r\n`, 'latin1')
}

/** Writes bytes past Node's HTTP, which would see to it that they are HTTP. Resolves when the kernel has them. */
export async function writeRaw({ socket }: Pick<ServerResponse, 'socket'>, bytes: Buffer): Promise<void> {
  if (socket === null || bytes.length === 0) return
  if (!socket.write(bytes)) await Promise.race([once(socket, 'drain'), once(socket, 'close')])
}

/** RST: what is still on its way may be lost. */
export function resetConnection(socket: Socket | null): void {
  // Node cannot reset what has begun to end, and would lose the socket.
  if (socket?.writableEnded === true) socket.destroy()
  else socket?.resetAndDestroy()
}
