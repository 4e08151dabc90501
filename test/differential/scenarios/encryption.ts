import type { Scenario } from '../run.ts'
import type { Step } from '../side.ts'
import { copy, get, head, put, remove } from './steps.ts'

type Headers = readonly (readonly [string, string])[]

const prefix = 'x-amz-server-side-encryption'
const keyOne: Headers = [[`${prefix}-customer-algorithm`, 'AES256'], [`${prefix}-customer-key`, 'pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs='], [
  `${prefix}-customer-key-md5`,
  'DWygnHRtgiJ77HCm+1rvHw=='
]]
const keyTwo: Headers = [[`${prefix}-customer-algorithm`, 'AES256'], [`${prefix}-customer-key`, '6b+WOZ1T3cqZMxgThRcXAQBrS5mXKdDUphvpxptl9/4='], [
  `${prefix}-customer-key-md5`,
  'arxBvwY2V4SiOne6yppVPQ=='
]]
const modes: Readonly<Record<string, Headers>> = {
  none: [],
  s3: [[prefix, 'AES256']],
  kms: [[prefix, 'aws:kms'], [`${prefix}-aws-kms-key-id`, 'testkey-1']],
  kms2: [[prefix, 'aws:kms'], [`${prefix}-aws-kms-key-id`, 'testkey-2']],
  c: keyOne
}
const wrong: Readonly<Record<string, Headers>> = {
  'kms without key': [[prefix, 'aws:kms']],
  'kms unknown key': [[prefix, 'aws:kms'], [`${prefix}-aws-kms-key-id`, 'nobody']],
  'kms misspelt': [[prefix, 'aes:kms'], [`${prefix}-aws-kms-key-id`, 'testkey-1']],
  'key without kms': [[`${prefix}-aws-kms-key-id`, 'testkey-1']],
  'unknown': [[prefix, 'AES512']],
  's3 and c': [[prefix, 'AES256'], ...keyOne],
  'kms and c': [...modes['kms'] ?? [], ...keyOne],
  's3 and kms': [[prefix, 'AES256'], [`${prefix}-aws-kms-key-id`, 'testkey-1']],
  'c without key': keyOne.filter(([name]) => !name.endsWith('-key')),
  'c without md5': keyOne.filter(([name]) => !name.endsWith('md5')),
  'c without algorithm': keyOne.filter(([name]) => !name.endsWith('algorithm')),
  'c wrong md5': keyOne.map(([n, v]) => [n, n.endsWith('md5') ? 'AAAAAAAAAAAAAAAAAAAAAA==' : v] as const),
  'c short key': keyOne.map(([n, v]) => [n, n.endsWith('-key') ? 'AAAA' : v] as const),
  'c wrong algorithm': keyOne.map(([n, v]) => [n, n.endsWith('algorithm') ? 'AES192' : v] as const)
}
const asSource = (headers: Headers): Headers =>
  headers.filter(([name]) => name.includes('customer')).map(([name, value]) => [name.replace('x-amz-', 'x-amz-copy-source-'), value])
const reading = (mode: string): Headers => mode === 'c' ? keyOne : []

export const encryption: readonly Scenario[] = [
  {
    name: 'sse modes',
    buckets: ['a'],
    steps: Object.entries(modes).flatMap(([mode, headers]): Step[] =>
      [1, 1000, 200000].flatMap((size) => [
        put(`${mode}${size}`, 'A'.repeat(size), { headers }),
        head(`${mode}${size}`, { headers: reading(mode) }),
        get(`${mode}${size}`, { headers: reading(mode) }),
        get(`${mode}${size}`, { headers: [...reading(mode), ['range', 'bytes=0-0']] }),
        head(`${mode}${size}`),
        get(`${mode}${size}`),
        get(`${mode}${size}`, { headers: keyTwo }),
        head(`${mode}${size}`, { headers: keyTwo }),
        get(`${mode}${size}`, { headers: [[prefix, 'AES256']] }),
        head(`${mode}${size}`, { headers: [[prefix, 'aws:kms']] })
      ])
    )
  },
  {
    name: 'sse mistakes',
    buckets: ['a'],
    steps: [
      put('c', 'x', { headers: keyOne }),
      ...Object.entries(wrong).flatMap(([name, headers]): Step[] => [put(name, 'x', { headers }), head(name), get('c', { headers }), head('c', { headers })]),
      remove('c')
    ]
  },
  {
    name: 'sse copies',
    buckets: ['a', 'b'],
    steps: Object.entries(modes).flatMap(([from, headers]): Step[] => [
      put(from, 'hello world', { headers }),
      ...Object.entries(modes).flatMap(([to, target]): Step[] => [
        copy(`{bucket:a}/${from}`, `${from}-${to}`, [...asSource(reading(from)), ...target], { bucket: 'b' }),
        head(`${from}-${to}`, { bucket: 'b', headers: reading(to) }),
        get(`${from}-${to}`, { bucket: 'b', headers: reading(to) })
      ]),
      copy(`{bucket:a}/${from}`, 'refused', [], { bucket: 'b' }),
      copy(`{bucket:a}/${from}`, 'refused', asSource(keyTwo), { bucket: 'b' })
    ])
  }
]
