import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import t from 'tap'
import { usedKeysOf } from '../../src/config/config.ts'
import { ConfigError, parseConfig } from '../../src/config/load.ts'
import { configWarnings } from '../../src/config/warnings.ts'

const masterKey = randomBytes(32).toString('base64')
const keys = {
  main: { type: 'local', keyring: './keyring.json' },
  kms: { type: 'aws-kms', arn: 'arn:aws:kms:eu-central-1:111122223333:key/1234abcd' },
  old: { type: 's3ec-aes', masterKey },
  older: { type: 's3ec-aes', masterKey, description: { name: 'older' } },
  pair: { type: 's3ec-rsa', privateKey: 'pem-canary' }
}
const read = (s3ec: unknown, bucket: object = {}, change: object = {}) =>
  parseConfig(
    JSON.stringify({
      upstream: { endpoint: 'http://127.0.0.1:9100', accessKeyId: 'a', secretAccessKey: 'b' },
      clients: [{ accessKeyId: 'c', secretAccessKey: 'd' }],
      keys: { ...keys, ...change },
      buckets: { '*': { key: 'main', s3ec, ...bucket } }
    }),
    { file: '/etc/sealgate.yaml', env: {} }
  )

function faults(...args: Parameters<typeof read>): Record<string, string> {
  try {
    read(...args)
  } catch (error) {
    if (error instanceof ConfigError) return Object.fromEntries(error.faults.map(({ path, message }) => [path, message]))
    throw error
  }
  return {}
}

await t.test('what a bucket may say, and its defaults', (t) => {
  const config = read({ read: ['v3'], keys: ['kms', 'old'] })
  t.strictSame(config.buckets[0]?.[1].s3ec, {
    read: ['v3'],
    keys: ['kms', 'old'],
    commitment: 'require',
    instructionSuffixes: ['.instruction'],
    unauthenticatedRanges: false,
    write: null
  })
  t.equal(read(undefined).buckets[0]?.[1].s3ec, null)
  t.strictSame(usedKeysOf(config.buckets[0]![1]), ['main', 'kms', 'old'])
  // Base64 has characters that mean something in an expression.
  const shown = inspect(read({ read: ['v3'], keys: ['pair'] }), { depth: 9 }) + JSON.stringify(config)
  for (const secret of ['pem-canary', masterKey.slice(0, 20)]) t.notOk(shown.includes(secret))
  const all = ['v1', 'v1-rsa', 'v2', 'v2-legacy', 'v2-cbc', 'v3']
  t.strictSame(faults({ read: all, keys: ['kms', 'old', 'older', 'pair'], commitment: 'allow' }), {})
  for (const word of all) {
    t.equal(Object.keys(faults({ read: [word], keys: ['old'] })).length, word === 'v3' ? 0 : 1, word)
  }
  t.end()
})

await t.test('every fault', (t) => {
  const path = 'buckets.*.s3ec'
  t.match(faults({ read: ['v2', 'v3'], keys: ['old'] }), { [`${path}.commitment`]: /must be allow/ })
  t.match(faults({ read: ['v3'], keys: ['old'], write: 'v2' }), { [`${path}.write`]: /needs read to name v2/ })
  t.match(faults({ read: ['v3'], keys: ['old'], write: 'v1' }), { [`${path}.write`]: /./ })
  t.strictSame(faults({ read: ['v3', 'v2'], keys: ['old'], commitment: 'allow', write: 'v2' }), {})
  t.match(faults({ read: ['v2'], keys: ['old'], commitment: 'require' }), { [`${path}.commitment`]: /must be allow/ })
  t.match(faults({ read: ['v3'], keys: ['nowhere'] }), { [`${path}.keys`]: 'keys has no nowhere' })
  t.match(faults({ read: ['v3'], keys: ['main'] }), { [`${path}.keys`]: /main must be of type/ })
  t.match(faults({ read: ['v3'], keys: ['old'] }, { encryption: 'off' }), { [path]: /needs encryption: on/ })
  t.match(faults({ read: ['v3'], keys: ['old', 'twin'] }, {}, { twin: { type: 's3ec-aes', masterKey } }), {
    [`${path}.keys`]: /twin has the description of old/
  })
  t.strictSame(faults({ read: ['v3'], keys: ['old', 'pair'] }), {}, 'one of each kind may have the same description')
  t.match(faults({ read: [], keys: ['old'] }), { [`${path}.read`]: /./ })
  t.match(faults({ read: ['v3'], keys: [] }), { [`${path}.keys`]: /./ })
  t.match(faults({ read: ['v4'], keys: ['old'] }), { [`${path}.read.0`]: /./ })
  for (const suffix of ['', ' x', 'x'.repeat(65), 'ü']) {
    t.not(Object.keys(faults({ read: ['v3'], keys: ['old'], instructionSuffixes: [suffix] })).length, 0, suffix)
  }
  for (const option of ['key', 'allowedKeys', 'openKeys']) {
    const named = option === 'key' ? 'old' : ['old']
    t.match(faults(undefined, { [option]: named }), { [`buckets.*.${option}`]: /old seals nothing|must/ }, option)
  }
  for (const wrong of ['', 'x', randomBytes(31).toString('base64'), `${masterKey} `]) {
    t.match(faults(undefined, {}, { old: { type: 's3ec-aes', masterKey: wrong } }), { 'keys.old.masterKey': /./ })
  }
  t.end()
})

await t.test('a key that seals nothing is not the only one there is', (t) => {
  const { old, main } = keys
  const config = parseConfig(
    JSON.stringify({
      upstream: { endpoint: 'http://127.0.0.1:9100', accessKeyId: 'a', secretAccessKey: 'b' },
      clients: [{ accessKeyId: 'c', secretAccessKey: 'd' }],
      keys: { old, main },
      buckets: { '*': { s3ec: { read: ['v3'], keys: ['old'], unauthenticatedRanges: true } } }
    }),
    { file: '/etc/sealgate.yaml', env: {} }
  )
  t.equal(config.buckets[0]?.[1].keys.bucket.key, 'main')
  t.match(configWarnings(config), [{ path: 'buckets.*.s3ec.unauthenticatedRanges' }])
  const both = configWarnings(read({ read: ['v2-legacy', 'v2-cbc'], keys: ['old', 'older', 'pair', 'kms'], commitment: 'allow' }))
  t.match(both, [{ path: 'buckets.*.s3ec.read', message: /v2-cbc/ }])
  t.same(configWarnings(read({ read: ['v2-legacy', 'v3'], keys: ['old', 'older', 'pair', 'kms'], commitment: 'allow' })), [])
  t.end()
})
