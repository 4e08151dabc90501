import type { Scenario } from '../run.ts'
import { list, put } from './steps.ts'

type Query = readonly (readonly [string, string | null])[]

const keys = [
  'asdf',
  'boo/bar',
  'boo/baz/xyzzy',
  'cquux/thud',
  'cquux/bla',
  'foo',
  'foo bar',
  'foo%2Fx',
  'b aar',
  'ünï',
  'x&y',
  'x<y',
  'zz+1',
  '0/',
  '_under',
  'quxx//yy',
  'a\u0007b'
]
const one: Query[] = [
  [],
  [['delimiter', '/']],
  [['delimiter', 'a']],
  [['delimiter', ' ']],
  [['delimiter', '%']],
  [['delimiter', '']],
  [['delimiter', '\n']],
  [['delimiter', 'zz']],
  [['delimiter', 'oo']],
  [['prefix', 'boo/']],
  [['prefix', '']],
  [['prefix', 'nothing']],
  [['prefix', '\n']],
  [['prefix', 'b a']],
  [['prefix', 'x&']],
  [['prefix', 'boo/'], ['delimiter', '/']],
  [['prefix', 'cquux/'], ['delimiter', '/']],
  [['prefix', 'b'], ['delimiter', 'a']],
  [['max-keys', '1']],
  [['max-keys', '0']],
  [['max-keys', '1000']],
  [['max-keys', '1001']],
  [['max-keys', '-1']],
  [['max-keys', 'nonsense']],
  [['max-keys', '']],
  [['max-keys', '3'], ['delimiter', '/']],
  [['max-keys', '2'], ['prefix', 'cquux/'], ['delimiter', '/']],
  [['encoding-type', 'url']],
  [['encoding-type', 'nonsense']],
  [['encoding-type', 'url'], ['delimiter', '/']],
  [['encoding-type', 'url'], ['delimiter', ' '], ['prefix', 'b ']],
  [['allow-unordered', 'true']],
  [['allow-unordered', 'true'], ['delimiter', '/']],
  [['max-keys', '99999999999999999999']],
  [['nonsense', 'x']]
]
const markers = ['', 'foo', 'blah', 'zzz', 'boo/', 'boo/bar', '\n', 'ünï', ' ']

export const listings: readonly Scenario[] = [
  {
    name: 'listing empty',
    buckets: ['a'],
    steps: [
      list(),
      list([['list-type', '2']]),
      list([['versions', null]]),
      list([['uploads', null]]),
      list([['max-keys', '0']]),
      list([['list-type', '2'], ['max-keys', '0']]),
      list([['list-type', '3']]),
      list([['list-type', '2'], ['fetch-owner', 'true']])
    ]
  },
  {
    name: 'listing parameters',
    buckets: ['a'],
    steps: [
      ...keys.map((key) => put(key, `body ${key}`)),
      ...one.flatMap((query) => [list(query), list([['list-type', '2'], ...query]), list([['versions', null], ...query])]),
      ...markers.flatMap((marker) => [
        list([['marker', marker]]),
        list([['marker', marker], ['delimiter', '/'], ['max-keys', '2']]),
        list([['list-type', '2'], ['start-after', marker]]),
        list([['list-type', '2'], ['start-after', marker], ['encoding-type', 'url'], ['max-keys', '2']]),
        list([['versions', null], ['key-marker', marker]]),
        list([['list-type', '2'], ['continuation-token', marker]])
      ]),
      list([['list-type', '2'], ['fetch-owner', 'true']]),
      list([['list-type', '2'], ['fetch-owner', 'false']]),
      list([['list-type', '2'], ['max-keys', '3']], { save: { token: 'NextContinuationToken' } }),
      list([['list-type', '2'], ['continuation-token', '{token}']]),
      list([['list-type', '2'], ['continuation-token', '{token}'], ['start-after', 'b']]),
      list([['max-keys', '3'], ['delimiter', '/']], { save: { next: 'NextMarker' } }),
      list([['marker', '{next}'], ['delimiter', '/']]),
      list([], { as: 'alt' }),
      list([], { as: 'anonymous' }),
      list([['prefix', 'a'], ['prefix', 'b']])
    ]
  }
]
