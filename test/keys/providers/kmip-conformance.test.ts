import type { TLSSocket } from 'node:tls'
import t from 'tap'
import type { KmipConfig } from '../../../src/config/key-config.ts'
import type { ServiceOptions } from '../../../src/keys/service/connection.ts'
import { answerWith, refuseWith } from '../../support/fake-kmip.ts'
import { conformance } from './conformance.ts'
import { kmipConfig, openKmip, startKmip } from './kmip-rig.ts'

await conformance(t, 'kmip', async (t) => {
  const kmip = await startKmip(t)
  let versions: KmipConfig['versions'] = [{ id: kmip.addKey(), state: 'enabled' }]
  const other: KmipConfig['versions'] = [{ id: kmip.addKey(), state: 'enabled' }]
  const [first] = versions
  const misbehave = (how: (socket: TLSSocket) => void) => async () => {
    kmip.misbehave = (_, socket) => {
      how(socket)
      return true
    }
  }
  const answering = (data: Buffer) => async () => {
    kmip.misbehave = ({ operation, id }, socket) => socket.write(answerWith(operation, id, data)) || true
  }
  const refusing = (reason: number, message: string) => misbehave((socket) => socket.write(refuseWith(reason, message)))
  const inState = (state: number, code: string) => ({
    enter: async () => {
      kmip.keys.get(first!.id)!.state = state
    },
    leave: async () => {
      kmip.keys.get(first!.id)!.state = 2
    },
    code
  })
  const secret = Buffer.alloc(31, 0x5a)
  return {
    open: async (options: ServiceOptions) => openKmip(kmipConfig(kmip, 'main', versions), options),
    openOther: async (options) => openKmip(kmipConfig(kmip, 'other', other), options),
    rotate: async () => {
      versions = [{ ...first!, state: 'decrypt-only' }, { id: kmip.addKey(), state: 'enabled' }]
    },
    states: {
      'deactivated': inState(3, 'KMS.DisabledException'),
      'not yet active': inState(1, 'KMS.DisabledException'),
      'compromised': inState(4, 'KMS.KMSInvalidStateException')
    },
    faults: {
      'outage': misbehave((socket) => socket.destroy()),
      'throttled': refusing(0x3a, 'limit'),
      'slow': misbehave(() => undefined),
      'half an answer': misbehave((socket) => socket.write(answerWith('Decrypt', 'x', secret).subarray(0, 60))),
      'refused credential': refusing(0x3, 'no such client'),
      'a key of 31 bytes': answering(secret),
      'a key of zeros': answering(Buffer.alloc(32)),
      'garbage': misbehave((socket) => socket.write(`<html>${secret.toString('base64')}</html>`)),
      'huge answer': misbehave((socket) => {
        const head = Buffer.from('42007b0100800000', 'hex')
        socket.write(Buffer.concat([head, Buffer.alloc(8 << 20, secret.toString('base64'))]))
      })
    },
    heal: async () => {
      kmip.misbehave = null
    },
    calls: () => kmip.calls.length,
    secrets: () => [secret.toString('base64').slice(0, 16), secret.toString('latin1').slice(0, 16)]
  }
})
