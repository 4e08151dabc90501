import type { ServerResponse } from 'node:http'
import t from 'tap'
import type { ServiceOptions } from '../../../src/keys/service/connection.ts'
import { VaultTransitProvider } from '../../../src/keys/providers/vault-transit.ts'
import { FakeVault, answerVault, refuseVault } from '../../support/fake-vault.ts'
import { keyContext } from '../support.ts'
import { conformance } from './conformance.ts'

await conformance(t, 'vault-transit', async (t) => {
  const vault = await FakeVault.start(t)
  vault.addKey('main')
  vault.addKey('other')
  vault.credentials.add('secret-canary')
  const open = async (key: string, options: ServiceOptions) =>
    new VaultTransitProvider({
      config: {
        type: 'vault-transit',
        addresses: [vault.address],
        service: 'vault',
        namespace: null,
        mount: 'transit',
        key,
        ca: null,
        serverName: null,
        auth: { method: 'approle', mount: 'approle', roleId: 'role', secretId: 'secret-canary', secretIdFile: null }
      },
      files: { ca: null, client: null },
      selfTestContext: keyContext(),
      ...options
    })
  const secret = Buffer.alloc(31, 0x5a)
  const misbehave = (how: (response: ServerResponse) => void) => async () => {
    vault.misbehave = (_call, response) => {
      how(response)
      return true
    }
  }
  const answering = (body: unknown) =>
    misbehave((response) => {
      answerVault(response, body)
    })
  const refusing = (status: number, message: string) =>
    misbehave((response) => {
      refuseVault(response, status, message)
    })
  const keyOf = (bytes: Buffer) => ({ data: { plaintext: bytes.toString('base64'), ciphertext: 'vault:v1:AAAA' } })
  const main = () => vault.keys.get('main')!
  return {
    open: (options) => open('main', options),
    openOther: (options) => open('other', options),
    rotate: async () => {
      vault.rotate('main')
    },
    states: {
      'version too old': {
        enter: async () => {
          main().minDecryption = 2
        },
        leave: async () => {
          main().minDecryption = 1
        },
        code: 'KMS.DisabledException'
      },
      'soft-deleted': {
        enter: async () => {
          main().softDeleted = true
        },
        leave: async () => {
          main().softDeleted = false
        },
        code: 'KMS.KMSInvalidStateException'
      }
    },
    faults: {
      'outage': misbehave((response) => {
        response.destroy()
      }),
      'sealed': refusing(503, 'Vault is sealed'),
      'standby': misbehave((response) => {
        response.writeHead(307, { location: 'http://127.0.0.1:9/v1/elsewhere' }).end()
      }),
      'throttled': refusing(429, 'request path "transit/decrypt/main": rate limit quota exceeded'),
      'slow': misbehave(() => undefined),
      'half an answer': misbehave((response) => {
        response.writeHead(200, { 'content-length': 100 }).write('{"data":{"plaintext":"Wlpa')
      }),
      'refused credential': refusing(403, 'permission denied'),
      'a key of 31 bytes': answering(keyOf(secret)),
      'a key of zeros': answering(keyOf(Buffer.alloc(32))),
      'garbage': answering(`<html>${secret.toString('base64')}</html>`),
      'huge answer': misbehave((response) => {
        response.writeHead(200).end(Buffer.alloc(8 << 20, secret.toString('base64')))
      })
    },
    heal: async () => {
      vault.misbehave = null
    },
    calls: () => vault.calls.length,
    secrets: () => [secret.toString('base64').slice(0, 16), 'secret-canary', ...vault.tokens.keys()]
  }
})
