import { writeFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import t, { type Test } from 'tap'
import type { ServiceOptions } from '../../../src/keys/service/connection.ts'
import { AzureKeyVaultProvider } from '../../../src/keys/providers/azure-key-vault.ts'
import { FakeKeyVault, failure } from '../../support/fake-key-vault.ts'
import { answerJson } from '../../support/fake-service.ts'
import { keyContext, temporaryDirectory } from '../support.ts'
import { conformance, type Bench } from './conformance.ts'

for (const algorithm of ['RSA-OAEP-256', 'A256KW'] as const) {
  await conformance(t, `azure-key-vault, ${algorithm}`, (t) => bench(t, algorithm))
}

async function bench(t: Test, algorithm: 'RSA-OAEP-256' | 'A256KW'): Promise<Bench> {
  const vault = await FakeKeyVault.start(t)
  for (const name of ['main', 'other']) vault.addKey(name, algorithm === 'A256KW')
  const token = vault.addToken()
  const file = await temporaryDirectory(t)
  await writeFile(file('token'), token)
  const open = async (key: string, options: ServiceOptions) =>
    new AzureKeyVaultProvider({
      config: {
        type: 'azure-key-vault',
        vault: vault.vault,
        key,
        algorithm,
        resource: null,
        endpoint: vault.address,
        ca: null,
        serverName: null,
        auth: { method: 'token', tokenFile: file('token') }
      },
      ca: null,
      selfTestContext: keyContext(),
      ...options
    })
  const secret = Buffer.alloc(31, 0x5a)
  const misbehave = (how: (response: ServerResponse, path: string) => void) => async () => {
    vault.misbehave = ({ path }, response) => {
      how(response, path)
      return true
    }
  }
  const refusing = (...words: Parameters<typeof failure>) => {
    const { status, body, headers } = failure(...words)
    return misbehave((response) => {
      answerJson(response, status, body, headers)
    })
  }
  /** As the answer to every operation. */
  const valued = (bytes: Buffer) =>
    misbehave((response, path) => {
      const kid = vault.vault + path.replace(/\/\w+$/, '')
      answerJson(response, 200, { kid, value: bytes.toString('base64url') })
    })
  const [first] = vault.keys.get('main')!.versions
  return {
    open: (options) => open('main', options),
    openOther: (options) => open('other', options),
    rotate: async () => {
      vault.rotate('main', algorithm === 'A256KW')
    },
    states: {
      disabled: {
        enter: async () => {
          first!.attributes.enabled = false
        },
        leave: async () => {
          first!.attributes.enabled = true
        },
        code: 'KMS.DisabledException'
      },
      deleted: {
        enter: async () => {
          vault.keys.get('main')!.deleted = true
        },
        leave: async () => {
          vault.keys.get('main')!.deleted = false
        },
        code: 'KMS.KMSInvalidStateException'
      }
    },
    faults: {
      'outage': misbehave((response) => {
        response.destroy()
      }),
      'standby': misbehave((response) => {
        response.writeHead(307, { location: 'http://127.0.0.1:9/keys/elsewhere' }).end()
      }),
      'throttled': refusing(429, 'Throttled', 'Too many requests.', undefined, { 'retry-after': '1' }),
      'slow': misbehave(() => undefined),
      'half an answer': misbehave((response) => {
        response.writeHead(200, { 'content-length': 100 }).write('{"value":"Wlpa')
      }),
      'refused credential': refusing(403, 'Forbidden', `Caller is not authorized: ${token}`, 'ForbiddenByRbac'),
      'a key of 31 bytes': valued(secret),
      'a key of zeros': valued(Buffer.alloc(32)),
      'garbage': misbehave((response) => {
        answerJson(response, 200, `<html>${secret.toString('base64url')}</html>`)
      }),
      'huge answer': misbehave((response) => {
        response.writeHead(200).end(Buffer.alloc(8 << 20, secret.toString('base64url')))
      })
    },
    heal: async () => {
      vault.misbehave = null
    },
    calls: () => vault.calls.length,
    secrets: () => [secret.toString('base64url').slice(0, 16), token]
  }
}
