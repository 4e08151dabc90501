import t from 'tap'
import { kmipKind } from '../../../src/keys/providers/kmip-kind.ts'
import { codeOf } from '../../support/error-code.ts'
import { refuseWith } from '../../support/fake-kmip.ts'
import { keyContext, keyUse } from '../support.ts'
import { kmipConfig, openKmip, pem, startKmip } from './kmip-rig.ts'

const limits = { callMs: 5000, requestMs: 10_000, retryMs: 2, breakerFailures: 1000 }

await t.test('a server that ignores additional data is refused, at the first wrap and at the first unwrap', async (t) => {
  const kmip = await startKmip(t)
  const id = kmip.addKey()
  const config = kmipConfig(kmip, 'main', [{ id, state: 'enabled' }])
  const honest = openKmip(config, { limits })
  t.teardown(() => honest.close())
  const { wrapped } = await honest.generate(keyContext(), keyUse())
  t.equal(wrapped.keyId, `kmip:kmip/main:${id}`)
  kmip.ignoresAdditional = true
  const fresh = openKmip(config, { limits })
  t.teardown(() => fresh.close())
  t.match(await fresh.selfTest().then(() => null, (reason: unknown) => reason), {
    code: 'KMS.KMSInvalidStateException',
    message: /takes no notice of additional data/
  })
  const ignored = await honest.generate(keyContext(), keyUse())
  const opening = openKmip(kmipConfig(kmip, 'main', [{ id, state: 'decrypt-only' }]), { limits })
  t.teardown(() => opening.close())
  t.equal(await codeOf(opening.unwrap(ignored.wrapped, keyContext(), keyUse())), 'KMS.KMSInvalidStateException')
})

await t.test('calls: a proof once for each version, then Encrypt and Decrypt for a wrap, Decrypt for an unwrap; one connection', async (t) => {
  const kmip = await startKmip(t)
  const provider = openKmip(kmipConfig(kmip, 'main', [{ id: kmip.addKey(), state: 'enabled' }]), { limits })
  t.teardown(() => provider.close())
  const operations = () => kmip.calls.splice(0).map(({ operation }) => operation)
  const { wrapped } = await provider.generate(keyContext(), keyUse())
  // The refusals of the proof are general failures at this server, so the state of the key is asked for.
  t.same(operations(), ['Encrypt', 'Decrypt', 'Decrypt', 'GetAttributes', 'Decrypt', 'GetAttributes'])
  await provider.generate(keyContext(), keyUse())
  t.same(operations(), ['Encrypt', 'Decrypt'])
  await provider.unwrap(wrapped, keyContext(), keyUse())
  t.same(operations(), ['Decrypt'])
  t.equal(kmip.connections, 1)
  kmip.disconnect()
  await provider.unwrap(wrapped, keyContext(), keyUse())
  t.equal(kmip.connections, 2)
  kmip.ownNonce = true
  const own = await provider.generate(keyContext(), keyUse())
  t.ok((await provider.unwrap(own.wrapped, keyContext(), keyUse())).equals(own.key), 'a nonce that the server made')
})

await t.test('an answer that comes after its caller left, or unasked, is never that to another request', async (t) => {
  const kmip = await startKmip(t)
  const provider = openKmip(kmipConfig(kmip, 'main', [{ id: kmip.addKey(), state: 'enabled' }]), { limits })
  t.teardown(() => provider.close())
  const { key, wrapped } = await provider.generate(keyContext(), keyUse())
  const leave = new AbortController()
  const taken = new Promise<() => void>((resolve) => {
    kmip.misbehave = (_, socket) => {
      kmip.misbehave = null
      resolve(() => socket.write(refuseWith(0xc, 'late')))
      return true
    }
  })
  const waiting = provider.unwrap(wrapped, keyContext(), keyUse({ signal: leave.signal }))
  const answer = await taken
  leave.abort(new Error('left'))
  await t.rejects(waiting, { message: 'left' })
  answer()
  t.ok((await provider.unwrap(wrapped, keyContext(), keyUse())).equals(key))
  // Two answers to one request: neither is taken, and the connection is not used again.
  kmip.misbehave = (_, socket) => {
    kmip.misbehave = null
    socket.write(Buffer.concat([refuseWith(0x1, 'one'), refuseWith(0x1, 'two')]))
    return true
  }
  t.equal(await codeOf(provider.unwrap(wrapped, keyContext(), keyUse())), 'InternalError')
  t.ok((await provider.unwrap(wrapped, keyContext(), keyUse())).equals(key))
})

await t.test('refusals by reason', async (t) => {
  const kmip = await startKmip(t)
  const provider = openKmip(kmipConfig(kmip, 'main', [{ id: kmip.addKey(), state: 'enabled' }]), { limits })
  t.teardown(() => provider.close())
  const { wrapped } = await provider.generate(keyContext(), keyUse())
  const rows: readonly (readonly [reason: number, code: string, errorName: string])[] = [
    [0x1, 'KMS.NotFoundException', 'ItemNotFound'],
    [0x3, 'AccessDenied', 'AuthenticationNotSuccessful'],
    [0x5, 'InternalError', 'OperationNotSupported'],
    [0xa, 'SealgateIntegrityError', 'CryptographicFailure'],
    [0xc, 'AccessDenied', 'PermissionDenied'],
    [0x36, 'KMS.KMSInvalidStateException', 'ObjectDestroyed'],
    [0x3a, 'SlowDown', 'ServerLimitExceeded'],
    [0x44, 'ServiceUnavailable', 'ProtectionStorageUnavailable'],
    [0x77, 'InternalError', 'ResultReason-119']
  ]
  for (const [reason, code, errorName] of rows) {
    kmip.misbehave = ({ operation }, socket) => operation === 'Decrypt' && (socket.write(refuseWith(reason, `no ${'k'.repeat(40)}`)) || true)
    const error = await provider.unwrap(wrapped, keyContext(), keyUse()).then(() => null, (failure: unknown) => failure as Error & { cause: Error })
    t.match(error, { code, diagnosis: { service: 'kms', operation: 'Decrypt', errorName } }, errorName)
    t.notMatch(String(error?.cause.message), /k{20}/)
  }
})

await t.test('versions of the configuration, other servers, other certificates', async (t) => {
  const [kmip, away] = [await startKmip(t), await startKmip(t)]
  const [one, two] = [kmip.addKey(), kmip.addKey()]
  const config = kmipConfig(kmip, 'main', [{ id: one, state: 'decrypt-only' }, { id: two, state: 'disabled' }])
  const provider = openKmip(config, { limits })
  t.equal(provider.currentKeyId(), null)
  await provider.selfTest()
  t.equal(await codeOf(provider.generate(keyContext(), keyUse())), 'KMS.DisabledException')
  t.equal(await codeOf(provider.unwrap({ keyId: `kmip:kmip/main:${two}`, blob: Buffer.alloc(60) }, keyContext(), keyUse())), 'KMS.DisabledException')
  t.equal(await codeOf(provider.unwrap({ keyId: `kmip:kmip/main:${one}`, blob: Buffer.alloc(61) }, keyContext(), keyUse())), 'SealgateIntegrityError')
  t.equal(await codeOf(openKmip({ ...config, versions: [{ id: two, state: 'disabled' }] }).selfTest()), 'KMS.DisabledException')
  await provider.close()
  // The first server is away: the second is asked.
  away.misbehave = (_, socket) => {
    socket.destroy()
    return true
  }
  const several = openKmip({ ...config, addresses: [away.address, kmip.address], versions: [{ id: one, state: 'enabled' }] }, { limits })
  await several.selfTest()
  t.same(several.heldBack(), [[away.address, false]])
  await several.close()
  const enabled = { ...config, versions: [{ id: one, state: 'enabled' }] as const }
  const site = { realms: [], selfTestContext: keyContext(), keys: {}, metrics: undefined, kmsCredentials: undefined }
  const good = await kmipKind.open(enabled, site)
  await good.selfTest()
  await good.close()
  for (
    const wrong of [{ ca: null }, { ca: pem('client-cert.pem') }, { serverName: 'other.example' }, {
      cert: pem('localhost-cert.pem'),
      key: pem('localhost-key.pem')
    }]
  ) {
    const refusing = await kmipKind.open({ ...enabled, ...wrong }, site)
    t.equal(await codeOf(refusing.selfTest()), 'ServiceUnavailable', JSON.stringify(wrong))
    await refusing.close()
  }
  t.same(await kmipKind.check(enabled, []), { faults: [], keyIds: { option: 'label', prefix: 'kmip:kmip/main:' } })
  t.match(await kmipKind.check({ ...enabled, key: '/nowhere/key' }, []), { faults: [{ option: 'key', message: /ENOENT/ }] })
  t.equal(await kmipKind.describe(enabled), `KMIP ${kmip.address}, key kmip/main: ${one} enabled`)
})

await t.test('destruction: active and deactivated versions, and what is left when one is refused', async (t) => {
  const kmip = await startKmip(t)
  const [one, two] = [kmip.addKey(), kmip.addKey()]
  kmip.keys.get(one)!.state = 3
  const config = kmipConfig(kmip, 'main', [{ id: one, state: 'disabled' }, { id: two, state: 'enabled' }])
  const provider = openKmip(config, { limits })
  t.teardown(() => provider.close())
  const { wrapped } = await provider.generate(keyContext(), keyUse())
  const site = { realms: [], selfTestContext: keyContext(), keys: {}, metrics: undefined, kmsCredentials: undefined }
  const wanted = { days: 7, signal: new AbortController().signal }
  kmip.misbehave = ({ operation, id }, socket) => operation === 'Destroy' && id === two && (socket.write(refuseWith(0xc, 'not yours')) || true)
  t.match(await kmipKind.destroy(config, site, wanted), { keyIds: [`kmip:kmip/main:${one}`], failure: { code: 'KMS.DisabledException' } })
  kmip.misbehave = null
  t.match(await kmipKind.destroy(config, site, wanted), { keyIds: [`kmip:kmip/main:${two}`], failure: { code: 'KMS.NotFoundException' } })
  t.equal(kmip.keys.size, 0)
  t.equal(await codeOf(provider.unwrap(wrapped, keyContext(), keyUse())), 'KMS.NotFoundException')
  t.equal(await codeOf(kmipKind.destroy(config, site, wanted)), 'KMS.NotFoundException')
})

await t.test('no more than eight connections; who leaves while waiting holds up nobody', async (t) => {
  const kmip = await startKmip(t)
  const provider = openKmip(kmipConfig(kmip, 'main', [{ id: kmip.addKey(), state: 'enabled' }]), { limits })
  t.teardown(() => provider.close())
  const { key, wrapped } = await provider.generate(keyContext(), keyUse())
  const held: (() => void)[] = []
  const eight = new Promise<void>((resolve) => {
    kmip.misbehave = ({ operation }, socket) => {
      if (operation !== 'Decrypt') return false
      held.push(() => socket.write(refuseWith(0xa, 'no')))
      if (held.length === 8) resolve()
      return true
    }
  })
  const leave = new AbortController()
  const ask = (signal?: AbortSignal) => codeOf(provider.unwrap(wrapped, keyContext(), keyUse(signal === undefined ? {} : { signal })))
  const first = Array.from({ length: 8 }, () => ask())
  await eight
  const leaving = Array.from({ length: 5 }, () => t.rejects(provider.unwrap(wrapped, keyContext(), keyUse({ signal: leave.signal })), { message: 'left' }))
  const staying = Array.from({ length: 5 }, () => provider.unwrap(wrapped, keyContext(), keyUse()))
  leave.abort(new Error('left'))
  await Promise.all(leaving)
  t.equal(held.length, 8)
  kmip.misbehave = null
  for (const answer of held) answer()
  t.same(new Set(await Promise.all(first)), new Set(['SealgateIntegrityError']))
  for (const opened of await Promise.all(staying)) t.ok(opened.equals(key))
  t.equal(kmip.connections, 8)
})

await t.test('names that only the gateway may give are refused, before the service is asked', async (t) => {
  const kmip = await startKmip(t)
  const provider = openKmip(kmipConfig(kmip, 'main', [{ id: kmip.addKey(), state: 'enabled' }]), { limits })
  t.teardown(() => provider.close())
  for (const name of ['aws:s3:arn', 'sealgate:realm', 'Sealgate:x']) {
    t.equal(await codeOf(provider.generate(keyContext({ requestContext: { [name]: '1' } }), keyUse())), 'InvalidArgument', name)
  }
  t.notOk(kmip.calls.length > 0)
})
