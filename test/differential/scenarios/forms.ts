import { createHmac } from 'node:crypto'
import type { Scenario } from '../run.ts'
import type { Step, User } from '../side.ts'

type Fields = readonly (readonly [name: string, value: string])[]

const boundary = '7d44e178b0434'

function form(fields: Fields, file: string | null): string {
  const pieces = fields.map(([name, value]) => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`)
  const last = file === null
    ? ''
    : `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="some name.txt"\r\nContent-Type: text/plain\r\n\r\n${file}\r\n`
  return `${pieces.join('')}${last}--${boundary}--\r\n`
}

const post = (fields: Fields, file: string | null = 'bar'): Step => ({
  method: 'POST',
  bucket: 'a',
  as: 'anonymous',
  headers: [['content-type', `multipart/form-data; boundary=${boundary}`]],
  body: form(fields, file),
  bare: true
})

const hour = 3_600_000
const until = (ms: number): string => `${new Date(Date.now() + ms).toISOString().slice(0, 19)}Z`

/** Fields of a signed form (Signature Version 2). The policy is the same for every side, so it names the bucket by its end only. */
function signed(
  user: User,
  fields: Fields,
  conditions: readonly unknown[],
  change: { readonly expiration?: string; readonly secret?: string; readonly drop?: string; readonly text?: string } = {}
): Fields {
  const document = change.text ?? JSON.stringify({ expiration: change.expiration ?? until(hour), conditions })
  const policy = Buffer.from(document).toString('base64')
  const signature = createHmac('sha1', change.secret ?? user.secretAccessKey).update(policy).digest('base64')
  const all: Fields = [...fields, ['AWSAccessKeyId', user.accessKeyId], ['signature', signature], ['policy', policy]]
  return all.filter(([name]) => name !== change.drop)
}

const key: Fields = [['key', 'foo.txt'], ['acl', 'private'], ['Content-Type', 'text/plain']]
const plain: readonly unknown[] = [['starts-with', '$bucket', ''], ['starts-with', '$key', 'foo'], { acl: 'private' }, [
  'starts-with',
  '$Content-Type',
  'text/plain'
]]
const read: readonly Step[] = [{ method: 'GET', bucket: 'a', key: 'foo.txt' }, { method: 'DELETE', bucket: 'a', key: 'foo.txt' }]

/** Browser forms: signed, and unsigned to a bucket that everybody may write. */
export function forms(user: User): readonly Scenario[] {
  const size = ['content-length-range', 0, 1024]
  const attempts: readonly (readonly [Fields, readonly unknown[], Parameters<typeof signed>[3]?, (string | null)?])[] = [
    [key, [...plain, size]],
    [key, plain],
    [[...key, ['x-ignore-foo', 'bar']], plain],
    [[['KeY', 'foo.txt'], ['aCl', 'private'], ['Content-Type', 'text/plain']], plain],
    [[['key', 'foo-${filename}'], ['acl', 'private'], ['Content-Type', 'text/plain']], plain],
    [[['key', '\\$foo.txt'], ['acl', 'private'], ['Content-Type', 'text/plain']], [['starts-with', '$bucket', ''], ['starts-with', '$key', '\\$foo'], {
      acl: 'private'
    }, ['starts-with', '$Content-Type', 'text/plain']]],
    [[...key, ['success_action_redirect', 'http://localhost/x']], [...plain, ['eq', '$success_action_redirect', 'http://localhost/x']]],
    [[...key, ['success_action_status', '201']], [...plain, { success_action_status: '201' }]],
    [[...key, ['success_action_status', '404']], [...plain, { success_action_status: '404' }]],
    [[...key, ['success_action_status', '200']], [...plain, ['starts-with', '$success_action_status', '']]],
    [key, plain, { secret: 'wrong' }],
    [key, plain, { drop: 'signature' }],
    [key, plain, { drop: 'policy' }],
    [key, plain, { drop: 'AWSAccessKeyId' }],
    [key.slice(1), plain],
    [key, plain, { expiration: until(-hour) }],
    [key, plain, { expiration: 'nonsense' }],
    [key, plain, { text: '{"conditions":[]}' }],
    [key, plain, { text: `{"expiration":"${until(hour)}"}` }],
    [key, plain, { text: 'nonsense' }],
    [key, [['starts-with', '$bucket', ''], { acl: 'private' }]],
    [key, [...plain, { 'x-amz-meta-foo': 'bar' }]],
    [[...key, ['x-amz-meta-foo', 'barclamp']], [...plain, ['starts-with', '$x-amz-meta-foo', 'bar']]],
    [[...key, ['x-amz-meta-foo', 'barclamp']], plain],
    [[['key', 'bar.txt'], ['acl', 'private'], ['Content-Type', 'text/plain']], plain],
    [key, [...plain, ['content-length-range', 512, 1024]]],
    [key, [...plain, ['content-length-range', 0, 2]]],
    [key, [...plain, ['content-length-range', 1024, 0]]],
    [key, [...plain, ['content-length-range', -1, 0]]],
    [key, [...plain, ['content-length-range', 0]]],
    [key, [['starts-with', '$bucket', ''], ['sTarTs-WiTh', '$KeY', 'foo'], { acl: 'private' }, ['StArTs-WiTh', '$CoNtEnT-TyPe', 'text/plain']]],
    [[...key, ['tagging', '<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>']], [...plain, ['starts-with', '$tagging', '']]],
    [[...key, ['Cache-Control', 'no-cache']], [...plain, ['eq', '$Cache-Control', 'no-cache']]],
    [key, plain, {}, null],
    [key, plain, {}, ''],
    [key, plain, {}, 'x'.repeat(70000)]
  ]
  return [
    {
      name: 'form signed',
      buckets: ['a'],
      steps: attempts.flatMap((
        [fields, conditions, change, file]
      ): Step[] => [post(signed(user, fields, conditions, change), file === undefined ? 'bar' : file), ...read, {
        method: 'GET',
        bucket: 'a',
        key: 'foo.txt',
        query: [['tagging', null]]
      }])
    },
    {
      name: 'form anonymous',
      buckets: ['a'],
      steps: [
        post(key),
        { method: 'PUT', bucket: 'a', query: [['acl', null]], headers: [['x-amz-acl', 'public-read-write']] },
        post(key),
        ...read,
        post([...key, ['success_action_status', '201']]),
        post([...key, ['success_action_status', '404']]),
        ...read,
        post(key.slice(1)),
        post(key, null),
        post([...key, ['x-amz-meta-a', 'b']]),
        ...read,
        { method: 'POST', bucket: 'a', as: 'anonymous', headers: [['content-type', 'application/x-www-form-urlencoded']], body: 'a=b', bare: true },
        post(signed(user, key, plain, { secret: 'wrong' }))
      ]
    }
  ]
}
