import type { Scenario } from '../run.ts'
import type { Step } from '../side.ts'
import { ask, copy, drop, get, head, put, remove, set } from './steps.ts'

const oddKeys = [
  'plain',
  'with space',
  'a+b',
  'a%2Fb',
  '100%',
  'a//b',
  '/leading',
  'trailing/',
  'a/../b',
  '..',
  '.',
  './x',
  'ünïcode',
  '日本語',
  '😀',
  '"quoted"',
  '<tag>&amp;',
  'tab\there',
  'new\nline',
  '\u0001ctl',
  'cr\rx',
  '_',
  ' ',
  '  two',
  'a?b',
  'a#b',
  'a;b',
  'a=b',
  'a\\b',
  '~tilde',
  '*star',
  '{brace}',
  'a:b',
  '%',
  'versionId=1',
  'x'.repeat(1024),
  'x'.repeat(1025),
  'é'.repeat(512),
  `${'d/'.repeat(511)}x`
]

const types = ['text/plain', 'TEXT/Plain; Charset=utf-8', 'not a type', '', 'application/xml', 'multipart/form-data', 'x'.repeat(200)]

const metadata: readonly (readonly [string, string])[][] = [
  [['x-amz-meta-a', 'plain']],
  [['x-amz-meta-a', '']],
  [['x-amz-meta-UPPER', 'Value Kept']],
  [['x-amz-meta-a', '  spaces  inside  ']],
  [['x-amz-meta-latin', 'Hello World\xe9']],
  [['x-amz-meta-utf8', 'Hello World\xc3\xa9']],
  [['x-amz-meta-word', '=?UTF-8?Q?Hello_World=C3=A9?=']],
  [['x-amz-meta-word', '=?UTF-8?B?SGVsbG8=?=']],
  [['x-amz-meta-under_score', 'v']],
  [['x-amz-meta-long', 'x'.repeat(1000)]],
  [['x-amz-meta-', 'noname']],
  [['x-amz-meta-a', 'a,b'], ['x-amz-meta-b', 'c;d']]
]

const bodyHeaders: readonly (readonly [string, string])[][] = [
  [['content-md5', 'XUFAKrxLKna5cZ2REBfFkg==']],
  [['content-md5', 'rL0Y20zC+Fzt72VPzMSk2A==']],
  [['content-md5', 'notbase64']],
  [['content-md5', '']],
  [['content-md5', '\x07']],
  [['content-md5', 'AWS HAHAHA']],
  [['cache-control', 'public, max-age=14400']],
  [['expires', 'Tue, 07 Jun 2033 19:00:00 GMT']],
  [['expires', 'nonsense']],
  [['content-encoding', 'gzip']],
  [['content-encoding', 'aws-chunked']],
  [['content-encoding', 'gzip, aws-chunked']],
  [['content-disposition', 'attachment; filename="x y.txt"']],
  [['content-language', 'de']],
  [['x-amz-storage-class', 'STANDARD']],
  [['x-amz-storage-class', 'NONSENSE']],
  [['x-amz-website-redirect-location', '/other']],
  [['x-amz-tagging', 'a=b&c=d']],
  [['x-amz-tagging', 'bad&&']],
  [['x-amz-tagging', Array.from({ length: 11 }, (_, i) => `k${i}=v`).join('&')]],
  [['x-amz-acl', 'public-read']],
  [['x-amz-acl', 'nonsense']],
  [['expect', '200']],
  [['expect', '']],
  [['expect', '100-continue']],
  [['x-amz-expected-bucket-owner', 'nobody']],
  [['x-amz-request-payer', 'requester']],
  [['if-none-match', '*']],
  [['if-match', '*']],
  [['if-match', '"x"']],
  [['content-type', '']],
  [['x-amz-object-lock-mode', 'GOVERNANCE']],
  [['x-amz-checksum-crc32', 'NhCmhg==']],
  [['x-amz-checksum-sha256', 'LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=']]
]

/** Where the gateway is stricter than stores that ignore what they do not know: the object is removed at once, or every later answer would differ. */
const judged: readonly (readonly [string, string])[][] = [
  [['x-amz-checksum-crc32', 'AAAAAA==']],
  [['x-amz-checksum-crc32', 'bad']],
  [['x-amz-sdk-checksum-algorithm', 'CRC32']],
  [['if-none-match', '"x"']],
  [['x-amz-meta-tab', 'a\tb']],
  [['x-amz-meta-a', 'one'], ['x-amz-meta-a', 'two']]
]

const ranges = [
  'bytes=0-0',
  'bytes=0-4',
  'bytes=4-',
  'bytes=-3',
  'bytes=-0',
  'bytes=-100',
  'bytes=0-100',
  'bytes=10-20',
  'bytes=10-',
  'bytes=11-',
  'bytes=5-2',
  'bytes=a-b',
  'bytes=',
  'bytes',
  'items=0-1',
  'bytes=0-1,3-4',
  'bytes= 0-1',
  'Bytes=0-1',
  'bytes=0-18446744073709551616',
  'bytes=--1',
  'bytes=0'
]

const yes = '"5eb63bbbe01eeed093cb22bb8f5acdc3"'
const no = '"abcdefabcdefabcdefabcdefabcdefab"'
const past = 'Sat, 29 Oct 1994 19:43:31 GMT'
const future = 'Sat, 29 Oct 2044 19:43:31 GMT'
const etagValues = [undefined, yes, no, '*', yes.replaceAll('"', ''), `${no}, ${yes}`]
const dateValues = [undefined, past, future]

function readConditions(): Step[] {
  const steps: Step[] = []
  for (const ifMatch of etagValues) {
    for (const ifNone of etagValues) {
      for (const since of dateValues) {
        for (const unless of dateValues) {
          const headers = ([['if-match', ifMatch], ['if-none-match', ifNone], ['if-modified-since', since], ['if-unmodified-since', unless]] as const)
            .flatMap(([name, value]): [string, string][] => value === undefined ? [] : [[name, value]])
          if (headers.length > 0) steps.push(get('k', { headers }), head('k', { headers }))
        }
      }
    }
  }
  return steps
}

const overrides = [
  ['response-content-type', 'foo/bar'],
  ['response-content-language', 'esperanto'],
  ['response-expires', '123'],
  ['response-cache-control', 'no-cache'],
  ['response-content-disposition', 'bla'],
  ['response-content-encoding', 'aaa']
] as const

export const objects: readonly Scenario[] = [
  {
    name: 'object keys',
    buckets: ['a'],
    steps: oddKeys.flatMap((
      key
    ) => [
      put(key, `body of ${key.slice(0, 20)}`),
      get(key),
      head(key),
      ask('acl', { key }),
      set('tagging', '<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>', { key }),
      ask('tagging', { key }),
      copy(`{bucket:a}/${encodeURIComponent(key)}`, `copy of ${key.slice(0, 30)}`),
      get(`copy of ${key.slice(0, 30)}`)
    ])
      .concat([{ method: 'GET', bucket: 'a' }, { method: 'GET', bucket: 'a', query: [['encoding-type', 'url']] }, {
        method: 'GET',
        bucket: 'a',
        query: [['list-type', '2'], ['encoding-type', 'url'], ['delimiter', '/']]
      }])
      .concat(oddKeys.map((key) => remove(key)))
  },
  {
    name: 'object raw paths',
    buckets: ['a'],
    steps: [
      '%ae%8a-',
      'a%2fb',
      'a+b',
      'a%zz',
      'a%',
      'a%00b',
      '%E0%A4%A',
      'a b'.replace(' ', '%20'),
      'a!b\'()*',
      'a;b',
      'a@b,c$d',
      'x/./y',
      'x/../y',
      '%2E%2E/x'
    ].flatMap((raw) =>
      ['PUT', 'GET', 'HEAD', 'DELETE'].map((method): Step => ({
        method,
        bucket: 'a',
        path: `/{bucket:a}/${raw}`,
        body: method === 'PUT' ? 'x' : '',
        bare: true
      }))
    )
  },
  {
    name: 'object types',
    buckets: ['a'],
    steps: [
      put('none'),
      head('none'),
      get('none'),
      ...types.flatMap((type, i) => [put(`t${i}`, 'x', { headers: [['content-type', type]] }), head(`t${i}`), get(`t${i}`)])
    ]
  },
  {
    name: 'object metadata',
    buckets: ['a'],
    steps: metadata.flatMap((
      headers,
      i
    ) => [
      put(`m${i}`, 'x', { headers }),
      head(`m${i}`),
      get(`m${i}`),
      copy(`{bucket:a}/m${i}`, `c${i}`),
      head(`c${i}`),
      copy(`{bucket:a}/m${i}`, `r${i}`, [['x-amz-metadata-directive', 'REPLACE'], ['x-amz-meta-new', 'v']]),
      head(`r${i}`)
    ])
  },
  {
    name: 'object put headers',
    buckets: ['a'],
    steps: bodyHeaders.flatMap((
      headers,
      i
    ) => [put(`h${i}`, 'hello', { headers }), head(`h${i}`), get(`h${i}`), ask('tagging', { key: `h${i}` }), ask('acl', { key: `h${i}` })])
  },
  { name: 'object headers judged', buckets: ['a'], steps: judged.flatMap((headers) => [put('k', 'hello', { headers }), remove('k')]) },
  {
    name: 'object lengths',
    buckets: ['a'],
    steps: [
      put('e', ''),
      get('e'),
      head('e'),
      get('e', { headers: [['range', 'bytes=0-']] }),
      get('e', { headers: [['range', 'bytes=-1']] }),
      { method: 'PUT', bucket: 'a', key: 'nolen', noLength: true },
      head('nolen'),
      { method: 'PUT', bucket: 'a', key: 'neg', headers: [['content-length', '-1']] },
      { method: 'PUT', bucket: 'a', key: 'emptylen', headers: [['content-length', '']] },
      { method: 'PUT', bucket: 'a', key: 'nan', headers: [['content-length', 'nan']] },
      ...[1, 65479, 65480, 65481, 65536, 200000].flatMap((
        size
      ): Step[] => [
        put(`s${size}`, 'x'.repeat(size)),
        get(`s${size}`),
        head(`s${size}`),
        get(`s${size}`, { headers: [['range', `bytes=${size - 1}-`]] }),
        get(`s${size}`, { headers: [['range', `bytes=${size}-`]] })
      ])
    ]
  },
  {
    name: 'object ranges',
    buckets: ['a'],
    steps: [put('k', 'hello world'), ...ranges.flatMap((range) => [get('k', { headers: [['range', range]] }), head('k', { headers: [['range', range]] })])]
  },
  { name: 'object read conditions', buckets: ['a'], steps: [put('k', 'hello world'), ...readConditions().filter((step) => step.headers?.length === 1)] },
  {
    name: 'object read conditions combined',
    buckets: ['a'],
    steps: [put('k', 'hello world'), ...readConditions().filter((step) => step.headers?.length !== 1)]
  },
  {
    name: 'object write conditions',
    buckets: ['a'],
    steps: [
      put('k', 'hello world'),
      ...['k', 'missing'].flatMap((key) =>
        [yes, no, '*', yes.replaceAll('"', ''), 'badetag'].flatMap((tag) => [
          put(key, 'hello world', { headers: [['if-match', tag]] }),
          put(key, 'hello world', { headers: [['if-none-match', tag]] }),
          remove(key, { headers: [['if-match', tag]] }),
          put('k', 'hello world'),
          remove('missing')
        ])
      ),
      put('k', 'hello world', { headers: [['if-modified-since', past]] }),
      put('k', 'hello world', { headers: [['if-unmodified-since', past]] }),
      put('k', 'hello world', { headers: [['if-modified-since', future]] })
    ]
  },
  {
    name: 'object overrides',
    buckets: ['a'],
    steps: [
      put('k'),
      ...overrides.flatMap((override) => [get('k', { query: [override] }), head('k', { query: [override] }), get('k', { query: [override], sign: 'query' })]),
      get('k', { query: overrides }),
      get('k', { query: [['response-content-type', '日本']] }),
      get('k', { query: [['response-content-type', 'a\r\nb']] }),
      get('k', { query: [...overrides], sign: 'v2-query' })
    ]
  },
  {
    name: 'object copies',
    buckets: ['a', 'b'],
    steps: [
      put('s', 'hello world', { headers: [['content-type', 'text/plain'], ['x-amz-meta-a', 'b'], ['cache-control', 'no-cache'], ['x-amz-tagging', 'a=b']] }),
      copy('{bucket:a}/s', 'c1'),
      head('c1'),
      get('c1'),
      ask('tagging', { key: 'c1' }),
      copy('/{bucket:a}/s', 'c2', [], { bucket: 'b' }),
      head('c2', { bucket: 'b' }),
      copy('{bucket:a}/s', 's'),
      copy('{bucket:a}/s', 's', [['x-amz-metadata-directive', 'REPLACE'], ['x-amz-meta-x', 'y'], ['content-type', 'a/b']]),
      head('s'),
      get('s'),
      copy('{bucket:a}/missing', 'c3'),
      copy('{bucket:missing}/s', 'c3'),
      copy('{bucket:a}', 'c3'),
      copy('', 'c3'),
      copy('{bucket:a}/', 'c3'),
      copy('//', 'c3'),
      copy('{bucket:a}/s?versionId=nonsense', 'c3'),
      copy('{bucket:a}/s?x=y', 'c3'),
      copy('{bucket:a}/s', 'c4', [['x-amz-metadata-directive', 'NONSENSE']]),
      copy('{bucket:a}/s', 'c4', [['x-amz-tagging-directive', 'REPLACE'], ['x-amz-tagging', 'z=y']]),
      ask('tagging', { key: 'c4' }),
      ...[yes, no, '*'].flatMap((
        tag
      ) => [copy('{bucket:a}/s', 'c5', [['x-amz-copy-source-if-match', tag]]), copy('{bucket:a}/s', 'c5', [['x-amz-copy-source-if-none-match', tag]])]),
      ...[past, future].flatMap((
        date
      ) => [
        copy('{bucket:a}/s', 'c5', [['x-amz-copy-source-if-modified-since', date]]),
        copy('{bucket:a}/s', 'c5', [['x-amz-copy-source-if-unmodified-since', date]])
      ]),
      copy('{bucket:a}/s', 'c6', [['x-amz-acl', 'public-read']]),
      ask('acl', { key: 'c6' }),
      copy('{bucket:a}/s', 'c7', [['x-amz-storage-class', 'STANDARD']]),
      head('c7'),
      copy('{bucket:a}/s', 'c8', [['if-none-match', '*']]),
      copy('{bucket:a}/s', 'c8', [['if-none-match', '*']]),
      put('empty', ''),
      copy('{bucket:a}/empty', 'empty-copy'),
      get('empty-copy'),
      copy('{bucket:a}/s', 'x1', [], { as: 'alt' }),
      copy('{bucket:a}/s', 'x1', [], { bucket: 'nobucket' }),
      put('big', 'x'.repeat(300000)),
      copy('{bucket:a}/big', 'big2'),
      get('big2'),
      { method: 'PUT', bucket: 'a', key: 'c9', headers: [['x-amz-copy-source', '{bucket:a}/s']], body: 'a body', bare: true },
      put('dir/s', 'whole'),
      copy('{bucket:a}%2Fdir%2Fs', 'c10'),
      get('c10'),
      copy('%2F{bucket:a}%2Fdir%2Fs', 'c11'),
      get('c11'),
      copy('{bucket:a}%2F', 'c12'),
      copy('{bucket:a}%2Fa%3FversionId%3D1', 'c12')
    ]
  },
  {
    name: 'object deletes',
    buckets: ['a'],
    steps: [
      remove('never'),
      remove('k', { bucket: 'missing' }),
      put('k1'),
      put('k2'),
      put('k3', 'x'),
      put('k4'),
      { method: 'POST', bucket: 'a', query: [['delete', null]], body: '<Delete><Object><Key>k1</Key></Object><Object><Key>never</Key></Object></Delete>' },
      { method: 'POST', bucket: 'a', query: [['delete', null]], body: '<Delete><Quiet>true</Quiet><Object><Key>k2</Key></Object></Delete>' },
      { method: 'POST', bucket: 'a', query: [['delete', null]], body: '<Delete></Delete>' },
      { method: 'POST', bucket: 'a', query: [['delete', null]], body: 'nonsense' },
      { method: 'POST', bucket: 'a', query: [['delete', null]], body: '' },
      { method: 'POST', bucket: 'a', query: [['delete', null]], body: '<Delete><Object><Key>k3</Key></Object></Delete>', bare: true },
      { method: 'POST', bucket: 'a', query: [['delete', null]], body: '<Delete><Object><Key>k3</Key><VersionId>nonsense</VersionId></Object></Delete>' },
      { method: 'POST', bucket: 'a', query: [['delete', null]], body: '<Delete><Object><Key>k4</Key></Object></Delete>', as: 'alt' },
      { method: 'POST', bucket: 'a', query: [['delete', null]], body: '<Delete><Object><Key>k4</Key></Object></Delete>', as: 'anonymous' },
      {
        method: 'POST',
        bucket: 'a',
        query: [['delete', null]],
        body: `<Delete>${Array.from({ length: 1000 }, (_, i) => `<Object><Key>n${i}</Key></Object>`).join('')}</Delete>`
      },
      {
        method: 'POST',
        bucket: 'a',
        query: [['delete', null]],
        body: `<Delete>${Array.from({ length: 1001 }, (_, i) => `<Object><Key>n${i}</Key></Object>`).join('')}</Delete>`
      },
      {
        method: 'POST',
        bucket: 'a',
        query: [['delete', null]],
        body: '<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object><Key>with &lt; &amp; and ü</Key></Object></Delete>'
      },
      { method: 'POST', bucket: 'missing', query: [['delete', null]], body: '<Delete><Object><Key>k3</Key></Object></Delete>' }
    ]
  },
  {
    name: 'object tags',
    buckets: ['a'],
    steps: [
      put('k'),
      ask('tagging', { key: 'k' }),
      set('tagging', '<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag><Tag><Key>c</Key><Value></Value></Tag></TagSet></Tagging>', { key: 'k' }),
      ask('tagging', { key: 'k' }),
      head('k'),
      get('k'),
      set('tagging', `<Tagging><TagSet>${Array.from({ length: 11 }, (_, i) => `<Tag><Key>k${i}</Key><Value>v</Value></Tag>`).join('')}</TagSet></Tagging>`, {
        key: 'k'
      }),
      set('tagging', `<Tagging><TagSet><Tag><Key>${'k'.repeat(129)}</Key><Value>v</Value></Tag></TagSet></Tagging>`, { key: 'k' }),
      set('tagging', `<Tagging><TagSet><Tag><Key>k</Key><Value>${'v'.repeat(257)}</Value></Tag></TagSet></Tagging>`, { key: 'k' }),
      set('tagging', 'nonsense', { key: 'k' }),
      drop('tagging', { key: 'k' }),
      ask('tagging', { key: 'k' }),
      ask('tagging', { key: 'missing' }),
      drop('tagging', { key: 'missing' }),
      set('tagging', '<Tagging><TagSet></TagSet></Tagging>', { key: 'missing' }),
      head('k')
    ]
  },
  {
    name: 'object missing',
    buckets: ['a'],
    steps: [
      get('m'),
      head('m'),
      ask('acl', { key: 'm' }),
      ask('tagging', { key: 'm' }),
      ask('torrent', { key: 'm' }),
      ask('retention', { key: 'm' }),
      ask('legal-hold', { key: 'm' }),
      get('m', { as: 'alt' }),
      head('m', { as: 'alt' }),
      get('m', { as: 'anonymous' }),
      head('m', { as: 'anonymous' }),
      get('m', { headers: [['range', 'bytes=0-1']] }),
      get('m', { headers: [['if-match', '*']] }),
      get('m', { query: [['versionId', 'nonsense']] }),
      get('m', { query: [['partNumber', '1']] }),
      get('k', { bucket: 'missing' }),
      head('k', { bucket: 'missing' }),
      put('k', 'x', { bucket: 'missing' }),
      put('o'),
      ask('torrent', { key: 'o' }),
      get('o', { query: [['versionId', 'nonsense']] }),
      get('o', { query: [['versionId', 'null']] }),
      head('o', { query: [['versionId', 'null']] }),
      get('o', { query: [['nonsense', null]] }),
      get('o', { query: [['nonsense', 'x']] }),
      get('o', { query: [['partNumber', '1']] }),
      get('o', { query: [['partNumber', '2']] }),
      head('o', { query: [['partNumber', '1']] }),
      ask('attributes', { key: 'o', headers: [['x-amz-object-attributes', 'ETag,ObjectSize']] }),
      ask('legal-hold', { key: 'o' }),
      ask('retention', { key: 'o' }),
      { method: 'POST', bucket: 'a', key: 'o' },
      { method: 'POST', bucket: 'a', key: 'o', query: [['restore', null]], body: '<RestoreRequest><Days>1</Days></RestoreRequest>' },
      { method: 'POST', bucket: 'a', key: 'o', query: [['select', null], ['select-type', '2']], body: '<x/>' }
    ]
  },
  {
    name: 'object presigned',
    buckets: ['a'],
    steps: (['query', 'v2-query', 'v2-header'] as const).flatMap((sign): Step[] => [
      put('k', 'hello', { sign }),
      get('k', { sign }),
      head('k', { sign }),
      get('k', { sign, headers: [['range', 'bytes=1-2']] }),
      remove('k', { sign }),
      put('k2', 'hello', { sign, headers: [['content-type', 'text/plain'], ['x-amz-meta-a', 'b']] }),
      head('k2'),
      get('k2', { sign, expires: -100 }),
      get('nothing', { sign }),
      put('k3', 'hello', { sign, headers: [['x-amz-acl', 'public-read']] }),
      ask('acl', { key: 'k3' }),
      get('k3', { sign, as: 'alt' }),
      get('k3', { sign, as: 'unknown' }),
      get('k3', { sign, query: [['response-content-type', 'foo/bar']] })
    ])
  }
]
