import t from 'tap'
import { KmsKeyProvider } from '../../../src/keys/providers/aws-kms.ts'
import type { ServiceOptions } from '../../../src/keys/service/connection.ts'
import { FakeKms, refuse, send, type Misbehaviour } from '../../support/fake-kms.ts'
import { keyContext } from '../support.ts'
import { conformance } from './conformance.ts'

await conformance(t, 'aws-kms', async (t) => {
  const kms = await FakeKms.start(t)
  const [first, second, other] = [kms.addKey(), kms.addKey(), kms.addKey()]
  let arns = [first]
  const open = async ([arn = '', ...decryptOnly]: string[], options: ServiceOptions) =>
    new KmsKeyProvider({
      arn,
      decryptOnly,
      region: null,
      endpoint: kms.endpoint,
      credentials: { accessKeyId: 'AKIATEST', secretAccessKey: 'secret-canary' },
      selfTestContext: keyContext(),
      ...options
    })
  const secret = Buffer.alloc(31, 0x5a)
  const misbehave = (how: Misbehaviour) => async () => {
    kms.misbehave = how
  }
  const answering = (answer: unknown) =>
    misbehave((_call, response) => {
      send(response, 200, answer)
      return true
    })
  const keyOf = (bytes: Buffer) => ({ KeyId: arns[0], Plaintext: bytes.toString('base64'), CiphertextBlob: 'AAAA' })
  const state = (name: 'disabled' | 'pending-deletion', code: string) => ({
    enter: async () => {
      kms.setState(first, name)
    },
    leave: async () => {
      kms.setState(first, 'enabled')
    },
    code
  })
  return {
    open: (options) => open(arns, options),
    openOther: (options) => open([other], options),
    rotate: async () => {
      arns = [second, first]
    },
    states: {
      'disabled': state('disabled', 'KMS.DisabledException'),
      'pending deletion': state('pending-deletion', 'KMS.KMSInvalidStateException')
    },
    faults: {
      'outage': misbehave((_call, response) => {
        response.destroy()
        return true
      }),
      'throttled': misbehave((_call, response) => {
        refuse(response, 'ThrottlingException')
        return true
      }),
      'slow': misbehave(() => true),
      'half an answer': misbehave((_call, response) => {
        response.writeHead(200, { 'content-length': 100 }).write('{"KeyId')
        return true
      }),
      'refused credential': misbehave((_call, response) => {
        refuse(response, 'ExpiredTokenException')
        return true
      }),
      'a key of 31 bytes': answering(keyOf(secret)),
      'a key of zeros': answering(keyOf(Buffer.alloc(32))),
      'huge answer': misbehave((_call, response) => {
        response.writeHead(200).end(Buffer.alloc(8 << 20, secret.toString('base64')))
        return true
      }),
      'garbage': answering(`<html>${secret.toString('base64')}</html>`)
    },
    heal: async () => {
      kms.misbehave = null
    },
    calls: () => kms.calls.length,
    secrets: () => [secret.toString('base64').slice(0, 16), 'secret-canary']
  }
})
