import t from 'tap'
import { authorize, mayAccess } from '../../src/auth/authorize.ts'
import type { Client } from '../../src/auth/types.ts'

function client(buckets: readonly string[], readOnly = false): Client {
  return { accessKeyId: 'id', buckets, readOnly, identities: {}, limits: { requests: null, requestsPerSecond: null, bytesPerSecond: null } }
}

await t.test('patterns of bucket names', async (t) => {
  const cases: readonly (readonly [pattern: string, bucket: string, matches: boolean])[] = [
    ['*', 'a', true],
    ['a', 'a', true],
    ['a', 'ab', false],
    ['a', 'A', false],
    ['a*', 'abc', true],
    ['*c', 'abc', true],
    ['a*c', 'abc', true],
    ['a*c', 'ac', true],
    ['ab*bc', 'abc', false],
    ['*b*', 'abc', true],
    ['*x*', 'abc', false],
    ['*a*', 'abc', true],
    ['a*b*', 'ab', true],
    ['*ab*bc', 'abc', false],
    ['*b', 'ab', true],
    ['a*', 'a', true],
    ['a*b*c', 'aXbYc', true],
    ['a*b*c', 'acb', false],
    ['a*b*c', 'abc', true],
    ['a**c', 'abc', true],
    ['a.c', 'abc', false],
    ['', 'a', false],
    ['*a*a*', 'a', false],
    ['tenant-*', 'tenant', false]
  ]
  for (const [pattern, bucket, matches] of cases) t.equal(mayAccess(client([pattern]), { bucket, own: false, write: false }), matches, `${pattern} ${bucket}`)
})

await t.test('what each may do', async (t) => {
  const cases: readonly (readonly [who: Client | null, bucket: string | null, write: boolean, publicRead: boolean, allowed: boolean])[] = [
    [client(['a', 'b']), 'b', true, false, true],
    [client(['a']), 'b', false, true, false],
    [client([]), 'a', false, false, false],
    [client(['*'], true), 'a', false, false, true],
    [client(['*'], true), 'a', true, false, false],
    [client(['a']), null, false, false, true],
    [null, 'a', false, true, true],
    [null, 'a', false, false, false],
    [null, 'a', true, true, false],
    [null, null, false, true, true]
  ]
  for (const [who, bucket, write, publicRead, allowed] of cases) {
    const call = (): void => authorize(who, { bucket, own: false, write, publicRead })
    if (allowed) t.doesNotThrow(call)
    else t.throws(call, { code: 'AccessDenied', message: 'Access Denied' })
  }
  t.throws(() => authorize(null, { bucket: 'a', own: false, write: false }), { code: 'AccessDenied' })
})
