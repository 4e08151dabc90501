// The process in which a PKCS#11 module runs: started by pkcs11-client.ts, one for each key. The module can hang or crash in it alone.
import process from 'node:process'
import { Pkcs11Failure } from './pkcs11-binding.ts'
import { Pkcs11Token, type TokenSettings } from './pkcs11-token.ts'

/** One use of the key. Versions are CKA_IDs in hexadecimal. */
export type TokenTask =
  | { readonly do: 'find'; readonly version: string }
  | { readonly do: 'destroy'; readonly version: string }
  /** Answers with the number of keys of the label, of any version, in 4 bytes. */
  | { readonly do: 'count' }
  | { readonly do: 'wrap' | 'unwrap'; readonly version: string; readonly bytes: Uint8Array; readonly aad: Uint8Array }
  | {
    readonly do: 'rewrap'
    readonly version: string
    readonly bytes: Uint8Array
    readonly aad: Uint8Array
    readonly to: { readonly version: string; readonly aad: Uint8Array }
  }

/** The first message has the settings, by which the token is opened. Each is answered before the next is sent. */
type ToToken = TokenSettings | TokenTask

/** `bytes` is empty where there is no result. */
export type FromToken = { readonly bytes: Uint8Array } | { readonly code: string; readonly call: string }

let token: Pkcs11Token | null = null
const nothing = Buffer.alloc(0)

process.on('message', (message: ToToken) => {
  process.send?.(answer(message))
})
// The gateway ends it, after its last request; a terminal or service manager signals the whole group.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined)
process.on('disconnect', () => {
  process.exit()
})

function answer(message: ToToken): FromToken {
  try {
    if ('do' in message) return { bytes: token === null ? nothing : perform(token, message) }
    token = new Pkcs11Token(message)
    token.open()
    return { bytes: nothing }
  } catch (error) {
    return error instanceof Pkcs11Failure ? { code: error.code, call: error.call } : { code: 'InternalError', call: 'do' in message ? message.do : 'open' }
  }
}

function perform(token: Pkcs11Token, task: TokenTask): Uint8Array {
  if (task.do === 'find') {
    token.find(task.version)
    return nothing
  }
  if (task.do === 'destroy') {
    token.destroy(task.version)
    return nothing
  }
  if (task.do === 'count') {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(token.count())
    return bytes
  }
  const bytes = Buffer.from(task.bytes)
  const aad = Buffer.from(task.aad)
  task.bytes.fill(0)
  try {
    switch (task.do) {
      case 'wrap':
        return token.wrap(task.version, bytes, aad)
      case 'unwrap':
        return token.unwrap(task.version, bytes, aad)
      case 'rewrap': {
        const key = token.unwrap(task.version, bytes, aad)
        try {
          return token.wrap(task.to.version, key, Buffer.from(task.to.aad))
        } finally {
          key.fill(0)
        }
      }
    }
  } finally {
    bytes.fill(0)
  }
}
