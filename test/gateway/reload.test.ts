import t, { type Test } from 'tap'
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { createGateway } from '../../src/gateway/gateway.ts'
import { runCommand } from '../../src/cli/commands.ts'
import { parseConfig } from '../../src/config/load.ts'
import { readKeyring } from '../../src/keys/keyring-file.ts'
import { FakeKms, send } from '../support/fake-kms.ts'
import { startTestGateway } from '../support/gateway.ts'
import { startTestStore } from '../support/hostile.ts'

const Bucket = 'reloaded'
process.env['AWS_ACCESS_KEY_ID'] = 'x'
process.env['AWS_SECRET_ACCESS_KEY'] = 'y'
const silent = { stdout: { write: () => undefined }, stderr: { write: () => undefined }, env: {} }

async function rig(t: Test, keys?: Readonly<Record<string, unknown>>) {
  const store = await startTestStore({ buckets: [Bucket] })
  const told: Readonly<Record<string, unknown>>[] = []
  const sections = keys === undefined ? {} : { keys, buckets: { '*': { encryption: 'on', key: Object.keys(keys)[0], allowedKeys: Object.keys(keys) } } }
  const gateway = await startTestGateway(store, {
    sections,
    operatorLog: (level, message, fields) => {
      told.push({ level, message, ...fields })
    }
  })
  const { endpoint, region, accessKeyId, secretAccessKey } = store
  const config = (change: Readonly<Record<string, unknown>> = {}) =>
    parseConfig(
      JSON.stringify({
        upstream: { endpoint, region, accessKeyId, secretAccessKey, stateBucket: 'sealgate-state', realm: 'test' },
        clients: [{ accessKeyId: gateway.accessKeyId, secretAccessKey: gateway.secretAccessKey, buckets: ['*'] }],
        keys: { main: { type: 'local', keyring: gateway.keyring } },
        buckets: { '*': { encryption: 'on', key: 'main' } },
        ...sections,
        ...change
      }),
      { file: '/sealgate.yaml', env: {} }
    )
  t.teardown(async () => {
    await gateway.close()
    await store.close()
  })
  return { store, gateway, s3: gateway.client(), told, config }
}

await t.test('rotate, disable and enable count at once when the configuration is read again', async (t) => {
  const { store, gateway, s3, config } = await rig(t)
  const put = async (Key: string) => s3.send(new PutObjectCommand({ Bucket, Key, Body: Key }))
  const get = async (Key: string) => (await s3.send(new GetObjectCommand({ Bucket, Key }))).Body!.transformToString()
  const command = async (...args: string[]) => {
    t.equal(await runCommand({ ...silent, cwd: '/', onSignal: () => undefined, args: ['keys', args[0]!, '--keyring', gateway.keyring, ...args.slice(1)] }), 0)
    await gateway.gateway.reload(config())
  }
  await put('old')
  const old = store.object(Bucket, 'old').metadata['sealgate-key']!
  await command('rotate')
  await put('new')
  const current = store.object(Bucket, 'new').metadata['sealgate-key']!
  t.not(old, current)
  t.equal(await get('old'), 'old', 'decrypt-only')
  await command('disable', '--version', old)
  await t.rejects(get('old'), { name: 'KMS.DisabledException', $metadata: { httpStatusCode: 400 } })
  t.equal(await get('new'), 'new')
  await command('enable', '--version', old)
  t.equal(await get('old'), 'old')
  await command('disable', '--version', current)
  await put('again')
  t.equal(store.object(Bucket, 'again').metadata['sealgate-key'], old, 'the newest that is enabled')
  await command('disable', '--version', old)
  const refused = store.requests.length
  await t.rejects(put('refused'), { name: 'KMS.DisabledException' })
  t.notOk(store.requests.slice(refused).some(({ key }) => key === 'refused'), 'no byte goes upstream')
  t.same(await gateway.gateway.ready(), { ok: false, checks: { keys: 'KMS.DisabledException', store: 'ok', stateBucket: 'ok' } })
  await command('enable', '--version', current)
  t.match(await gateway.gateway.ready(), { ok: true })
  t.equal((await readKeyring(gateway.keyring)).versions.length, 2)
})

await t.test('a reload cuts no call of the keys it replaces', async (t) => {
  const kms = await FakeKms.start(t)
  const arn = kms.addKey()
  const { gateway, s3, config } = await rig(t, { cloud: { type: 'aws-kms', arn, endpoint: kms.endpoint } })
  let release = (): void => undefined
  let asked = (): void => undefined
  const underWay = new Promise<void>((resolve) => {
    asked = resolve
  })
  kms.misbehave = (call, response) => {
    if (call.operation !== 'GenerateDataKey' || JSON.stringify(call.input).includes('sealgate-state')) return false
    kms.misbehave = null
    release = () => {
      send(response, 200, { KeyId: arn, Plaintext: Buffer.alloc(32, 7).toString('base64'), CiphertextBlob: 'AAAA' })
    }
    asked()
    return true
  }
  const pending = s3.send(new PutObjectCommand({ Bucket, Key: 'pending', Body: 'x' }))
  await underWay
  await gateway.gateway.reload(config())
  await s3.send(new PutObjectCommand({ Bucket, Key: 'other', Body: 'y' }))
  release()
  t.match(await pending, { $metadata: { httpStatusCode: 200 } })
  const calls = kms.calls.filter(({ operation, input }) => operation === 'GenerateDataKey' && !JSON.stringify(input).includes('sealgate-state'))
  t.equal(calls.length, 2, 'a call that was cut would have been made again')
})

await t.test('a key that fails is reported by its name, and readiness fails only when all keys fail', async (t) => {
  const kms = await FakeKms.start(t)
  const [good, bad] = [kms.addKey(), kms.addKey()]
  kms.setState(bad, 'disabled')
  const { gateway, told, config, s3 } = await rig(t, {
    good: { type: 'aws-kms', arn: good, endpoint: kms.endpoint },
    bad: { type: 'aws-kms', arn: bad, endpoint: kms.endpoint }
  })
  const allGood = { ok: true, checks: { keys: 'ok', store: 'ok', stateBucket: 'ok' } }
  const failing = (key: string) => gateway.metric(`sealgate_key_failing{key="${key}"}`)
  t.same(await gateway.gateway.ready(), allGood)
  const facts = { service: 'kms', operation: 'GenerateDataKey', status: 400, errorName: 'DisabledException', trouble: 'denied' }
  t.match(told.filter(({ level }) => level === 'error'), [{
    level: 'error',
    message: 'key does not serve',
    key: 'bad',
    code: 'KMS.DisabledException',
    reason: `Key bad: self-test failed: ${bad} is disabled.`,
    ...facts
  }])
  t.same([failing('good'), failing('bad')], [0, 1])
  t.match(gateway.gateway.status?.().keys, [{ key: 'good', ok: true, code: null }, { key: 'bad', ok: false, code: 'KMS.DisabledException', ...facts }])
  await s3.send(new PutObjectCommand({ Bucket, Key: 'o', Body: 'o' }))
  await t.rejects(s3.send(new PutObjectCommand({ Bucket, Key: 'p', Body: 'o', ServerSideEncryption: 'aws:kms', SSEKMSKeyId: 'bad' })), {
    name: 'KMS.DisabledException'
  })
  kms.setState(bad, 'enabled')
  await gateway.gateway.reload(config())
  t.equal(failing('bad'), 0)
  kms.setState(good, 'disabled')
  await t.rejects(s3.send(new PutObjectCommand({ Bucket: 'other', Key: 'o', Body: 'o' })), { name: 'KMS.DisabledException' })
  t.equal(failing('good'), 1, 'a use tells, too')
  t.same(await gateway.gateway.ready(), allGood)
  kms.setState(bad, 'disabled')
  await gateway.gateway.reload(config())
  t.match(await gateway.gateway.ready(), { ok: false, checks: { keys: 'KMS.DisabledException' } }, 'none can be used')
  kms.setState(good, 'enabled')
  await gateway.gateway.reload(config())
  t.same(await gateway.gateway.ready(), allGood)
})

await t.test('a key service that was away counts as away until a call is answered, or other keys are used', async (t) => {
  const kms = await FakeKms.start(t)
  const arn = kms.addKey()
  const other = kms.addKey()
  const { gateway, s3, config } = await rig(t, {
    cloud: { type: 'aws-kms', arn, endpoint: kms.endpoint },
    other: { type: 'aws-kms', arn: other, endpoint: kms.endpoint }
  })
  const metric = 'sealgate_kms_breaker_open{endpoint="eu-west-1"}'
  kms.misbehave = ({ input }, response) => {
    if (input['KeyId'] !== arn) return false
    send(response, 500, { __type: 'KMSInternalException' })
    return true
  }
  // A failure is remembered for a while, by bucket.
  for (const name of ['one', 'two', 'three']) await s3.send(new PutObjectCommand({ Bucket: name, Key: 'o', Body: 'o' })).catch(() => undefined)
  t.equal(gateway.metric(metric), 1, 'one of two keys in the region')
  kms.misbehave = null
  await gateway.gateway.reload(config())
  t.equal(gateway.metric(metric), 0)
})

await t.test('the fault of the store is logged, and its recovery as well', async (t) => {
  const { store, gateway, told, config } = await rig(t)
  const versioned = store.rules.add({
    when: { method: 'GET', bucket: 'sealgate-state', query: { versioning: true } },
    times: 3,
    fault: { type: 'answer', status: 200, body: '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>' }
  })
  await gateway.gateway.reload(config())
  t.same(await gateway.gateway.ready(), { ok: false, checks: { keys: 'ok', store: 'ok', stateBucket: 'ServiceUnavailable' } })
  versioned.remove()
  store.refuse()
  await gateway.gateway.reload(config())
  await store.listen()
  await gateway.gateway.reload(config())
  const toldOf = (check: string) =>
    told.filter((one) => one['check'] === check).map(({ level, message, code, reason, system }) => [level, message, code, reason, system])
  const away = ['error', 'readiness check fails', 'ServiceUnavailable', 'The store cannot be reached at the moment.', 'ECONNREFUSED']
  const back = ['info', 'readiness check passes again', undefined, undefined, undefined]
  t.same(toldOf('store'), [away, back])
  t.same(toldOf('stateBucket'), [
    ['error', 'readiness check fails', 'ServiceUnavailable', 'The state bucket sealgate-state cannot be used: it keeps versions.', undefined],
    away,
    back
  ])
})

await t.test('a keyring that cannot be read keeps the gateway from starting, and a reload from happening', async (t) => {
  const { gateway, config, s3 } = await rig(t)
  const broken = config({ keys: { main: { type: 'local', keyring: '/nowhere/keyring.json' } } })
  await t.rejects(gateway.gateway.reload(broken), /does not exist/)
  await s3.send(new PutObjectCommand({ Bucket, Key: 'o', Body: 'o' }))
  await t.rejects(createGateway(broken, () => undefined), /does not exist/)
})
