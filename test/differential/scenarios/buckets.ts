import type { Scenario } from '../run.ts'
import { ask, list, put, set } from './steps.ts'

const badNames = [
  'a',
  'aa',
  'foo..bar',
  'foo.-bar',
  '.foo',
  'foo.',
  '-foo',
  'foo-',
  'foo_bar',
  'Foo-Bar',
  '192.168.5.123',
  'foo\nbar',
  'alpha-',
  'foo bar',
  'x'.repeat(64),
  'x'.repeat(260)
]

export const buckets: readonly Scenario[] = [
  {
    name: 'bucket life',
    buckets: [],
    steps: [
      { method: 'HEAD', bucket: 'n' },
      { method: 'GET', bucket: 'n' },
      { method: 'DELETE', bucket: 'n' },
      ask('location', { bucket: 'n' }),
      put('k', 'x', { bucket: 'n' }),
      { method: 'PUT', bucket: 'n' },
      { method: 'PUT', bucket: 'n' },
      { method: 'HEAD', bucket: 'n' },
      { method: 'GET', bucket: 'n' },
      ask('location', { bucket: 'n' }),
      { method: 'PUT', bucket: 'n', as: 'alt' },
      { method: 'HEAD', bucket: 'n', as: 'alt' },
      { method: 'GET', bucket: 'n', as: 'alt' },
      { method: 'DELETE', bucket: 'n', as: 'alt' },
      { method: 'HEAD', bucket: 'n', as: 'anonymous' },
      { method: 'GET', bucket: 'n', as: 'anonymous' },
      { method: 'PUT', bucket: 'n', as: 'anonymous' },
      put('k', 'x', { bucket: 'n' }),
      { method: 'DELETE', bucket: 'n' },
      { method: 'HEAD', bucket: 'n' },
      { method: 'DELETE', bucket: 'n', key: 'k' },
      { method: 'DELETE', bucket: 'n' },
      { method: 'HEAD', bucket: 'n' }
    ]
  },
  {
    name: 'bucket make',
    buckets: [],
    steps: [
      { method: 'PUT', bucket: 'l1', body: '<CreateBucketConfiguration><LocationConstraint>default</LocationConstraint></CreateBucketConfiguration>' },
      { method: 'PUT', bucket: 'l2', body: '<CreateBucketConfiguration><LocationConstraint>nowhere</LocationConstraint></CreateBucketConfiguration>' },
      { method: 'PUT', bucket: 'l3', body: '<CreateBucketConfiguration><LocationConstraint></LocationConstraint></CreateBucketConfiguration>' },
      { method: 'PUT', bucket: 'l4', body: 'not xml' },
      ask('location', { bucket: 'l1' }),
      ...['private', 'public-read', 'public-read-write', 'authenticated-read', 'nonsense'].flatMap((acl) => [
        { method: 'PUT', bucket: `acl-${acl}`, headers: [['x-amz-acl', acl]] as const },
        ask('acl', { bucket: `acl-${acl}` })
      ]),
      { method: 'PUT', bucket: 'own', headers: [['x-amz-object-ownership', 'BucketOwnerEnforced']] },
      { method: 'PUT', bucket: 'slash', path: '/{bucket:slash}/' },
      { method: 'GET', bucket: 'slash', path: '/{bucket:slash}/' },
      { method: 'DELETE', bucket: 'slash', path: '/{bucket:slash}/' },
      { method: 'PUT', bucket: 'lock', headers: [['x-amz-bucket-object-lock-enabled', 'true']] },
      ask('object-lock', { bucket: 'lock' }),
      ask('versioning', { bucket: 'lock' }),
      { method: 'PUT', bucket: 'empty-len', headers: [['content-length', '']] },
      { method: 'PUT', bucket: 'none-len', noLength: true },
      { method: 'PUT', bucket: 'bad-len', headers: [['content-length', '-1']] },
      { method: 'PUT', bucket: 'expect', headers: [['expect', '200']] }
    ]
  },
  {
    name: 'bucket names',
    buckets: [],
    steps: badNames.flatMap((name) => ['PUT', 'GET', 'HEAD'].map((method) => ({ method, path: `/${encodeURIComponent(name)}` })))
  },
  {
    name: 'bucket authentication',
    buckets: ['a'],
    steps: [
      put('k'),
      list([], { sign: 'wrong-secret' }),
      list([], { as: 'unknown' }),
      list([], { sign: 'v2-header' }),
      list([], { sign: 'v2-query' }),
      list([], { sign: 'query' }),
      list([], { sign: 'query', expires: -10 }),
      list([], { sign: 'query', expires: 604800 }),
      list([], { sign: 'query', expires: 604801 }),
      list([], { sign: 'v2-query', expires: -10 }),
      list([], { as: 'anonymous', headers: [['authorization', '']] }),
      list([], { as: 'anonymous', headers: [['authorization', 'AWS HAHAHA']] }),
      list([], { as: 'anonymous', headers: [['authorization', 'AWS4-HMAC-SHA256 Credential=HAHAHA']] }),
      list([], { headers: [['x-amz-date', '20130101T000000Z']] }),
      list([], { headers: [['x-amz-date', '99990101T000000Z']] }),
      list([], { headers: [['x-amz-date', '']] }),
      list([], { headers: [['x-amz-date', 'nonsense']] }),
      { method: 'PUT', bucket: 'n1', sign: 'wrong-secret' },
      { method: 'PUT', bucket: 'n2', as: 'unknown' },
      { method: 'HEAD', bucket: 'a', sign: 'wrong-secret' },
      { method: 'HEAD', bucket: 'a', as: 'unknown' },
      { method: 'HEAD', bucket: 'a', as: 'anonymous' },
      list([], { headers: [['x-amz-content-sha256', 'nonsense']] }),
      put('k2', 'body', { headers: [['x-amz-content-sha256', '0'.repeat(64)]] }),
      put('k2', 'body', { headers: [['x-amz-content-sha256', 'UNSIGNED-PAYLOAD']] }),
      { method: 'GET', path: '/', as: 'unknown' },
      { method: 'GET', path: '/', sign: 'wrong-secret' }
    ]
  },
  {
    name: 'bucket subresources absent',
    buckets: ['a'],
    steps: [
      ...[
        'acl',
        'cors',
        'encryption',
        'lifecycle',
        'location',
        'logging',
        'notification',
        'object-lock',
        'policy',
        'policyStatus',
        'publicAccessBlock',
        'replication',
        'requestPayment',
        'tagging',
        'versioning',
        'website',
        'ownershipControls',
        'accelerate',
        'uploads',
        'versions',
        'inventory',
        'analytics',
        'metrics',
        'intelligent-tiering',
        'nonsense',
        'usage'
      ].flatMap((name) => [ask(name), ask(name, { bucket: 'missing' }), ask(name, { as: 'alt' }), ask(name, { as: 'anonymous' })])
    ]
  },
  {
    name: 'bucket request payment',
    buckets: ['a'],
    steps: [
      ask('requestPayment'),
      set(
        'requestPayment',
        '<RequestPaymentConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Payer>Requester</Payer></RequestPaymentConfiguration>'
      ),
      ask('requestPayment')
    ]
  }
]
