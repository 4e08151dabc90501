import { writeFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { crc32c } from '@node-rs/crc32'
import t from 'tap'
import type { ServiceOptions } from '../../../src/keys/service/connection.ts'
import { GcpKmsProvider } from '../../../src/keys/providers/gcp-kms.ts'
import { FakeGcpKms, refusal } from '../../support/fake-gcp-kms.ts'
import { answerJson } from '../../support/fake-service.ts'
import { keyContext, temporaryDirectory } from '../support.ts'
import { conformance } from './conformance.ts'

await conformance(t, 'gcp-kms', async (t) => {
  const kms = await FakeGcpKms.start(t)
  const [main, other] = [kms.addKey('main'), kms.addKey('other')]
  const token = kms.addToken()
  const file = await temporaryDirectory(t)
  await writeFile(file('token'), token)
  const open = async (key: string, options: ServiceOptions) =>
    new GcpKmsProvider({
      config: { type: 'gcp-kms', key, endpoint: kms.address, ca: null, serverName: null, auth: { method: 'token', tokenFile: file('token') } },
      ca: null,
      selfTestContext: keyContext(),
      ...options
    })
  const secret = Buffer.alloc(31, 0x5a)
  const misbehave = (how: (response: ServerResponse) => void) => async () => {
    kms.misbehave = (_request, response) => {
      how(response)
      return true
    }
  }
  const answering = (body: unknown) =>
    misbehave((response) => {
      answerJson(response, 200, body)
    })
  const refusing = (status: number, name: string, message: string) => {
    const { body } = refusal(status, name, message)
    return misbehave((response) => {
      answerJson(response, status, body)
    })
  }
  /** To `decrypt`; to `encrypt` it is an answer of another key. */
  const keyOf = (bytes: Buffer) => ({ name: `${other}/cryptoKeyVersions/1`, plaintext: bytes.toString('base64'), plaintextCrc32c: String(crc32c(bytes)) })
  const encrypted = (bytes: Buffer) => ({
    ...keyOf(bytes),
    ciphertext: 'AAAA',
    ciphertextCrc32c: String(crc32c(Buffer.from('AAAA', 'base64'))),
    verifiedPlaintextCrc32c: true,
    verifiedAdditionalAuthenticatedDataCrc32c: true
  })
  const state = (entered: 'DISABLED' | 'DESTROY_SCHEDULED' | 'DESTROYED', code: string) => ({
    enter: async () => {
      kms.setState(main, 1, entered)
    },
    leave: async () => {
      kms.setState(main, 1, 'ENABLED')
    },
    code
  })
  return {
    open: (options) => open(main, options),
    openOther: (options) => open(other, options),
    rotate: async () => {
      kms.rotate(main)
    },
    states: {
      'disabled': state('DISABLED', 'KMS.DisabledException'),
      'destruction scheduled': state('DESTROY_SCHEDULED', 'KMS.KMSInvalidStateException'),
      'destroyed': state('DESTROYED', 'KMS.KMSInvalidStateException')
    },
    faults: {
      'outage': misbehave((response) => {
        response.destroy()
      }),
      'standby': misbehave((response) => {
        response.writeHead(307, { location: 'http://127.0.0.1:9/v1/elsewhere' }).end()
      }),
      'throttled': refusing(429, 'RESOURCE_EXHAUSTED', 'Quota exceeded for quota metric \'Cryptographic requests\'.'),
      'slow': misbehave(() => undefined),
      'half an answer': misbehave((response) => {
        response.writeHead(200, { 'content-length': 100 }).write('{"plaintext":"Wlpa')
      }),
      'refused credential': refusing(401, 'UNAUTHENTICATED', `Request had invalid authentication credentials: ${token}`),
      'a key of 31 bytes': answering(encrypted(secret)),
      'a key of zeros': answering(encrypted(Buffer.alloc(32))),
      'garbage': answering(`<html>${secret.toString('base64')}</html>`),
      'huge answer': misbehave((response) => {
        response.writeHead(200).end(Buffer.alloc(8 << 20, secret.toString('base64')))
      })
    },
    heal: async () => {
      kms.misbehave = null
    },
    calls: () => kms.calls.length,
    secrets: () => [secret.toString('base64').slice(0, 16), token]
  }
})
