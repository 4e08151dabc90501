import { readFileSync } from 'node:fs'
import t from 'tap'
import { HeaderList } from '../../src/http/message.ts'
import { parseTarget } from '../../src/http/target.ts'
import { foreignSubResources, olderNames, operationNames, operations } from '../../src/s3/operations.ts'
import { route } from '../../src/s3/route.ts'
import type { Operation } from '../../src/s3/route.ts'
import { errorCode } from '../support/error-code.ts'

interface ModelOperation {
  readonly name: string
  readonly method: string
  readonly uri: string
  readonly requiredQuery: string[]
  readonly optionalQuery: string[]
  readonly requiredHeaders: string[]
  readonly body: string
  readonly digest: boolean
}

/** AWS's service model of S3, August 2026: facts of the wire only. */
const model = JSON.parse(readFileSync(new URL('operations.json', import.meta.url), 'utf8')) as ModelOperation[]
const domains = ['s3.example.com', 'example.com']

interface Ask {
  host?: string
  headers?: Record<string, string>
  anyDomains?: string[]
}

function ask(method: string, target: string, { host = 'localhost:9000', headers = {}, anyDomains = domains }: Ask = {}): Operation {
  return route({ method, target: parseTarget(target), headers: new HeaderList(Object.entries(headers)), host }, anyDomains)
}

function asked(method: string, target: string, options: Ask = {}): string {
  return errorCode(() => ask(method, target, options))
}

function targetOf(operation: ModelOperation, path: { bucket: string; key: string }): string {
  const [uri = '', fixed = ''] = operation.uri.split('?')
  const query = [...fixed === '' ? [] : [fixed], ...operation.requiredQuery.map((name) => `${name}=7`)]
  // The wire does not tell these two apart but by this parameter (the endpoint does).
  if (operation.name === 'ListDirectoryBuckets') query.push('max-directory-buckets=7')
  const filled = uri.replace('/{Bucket}', path.bucket).replace('/{Key+}', path.key) || '/'
  return filled + (query.length === 0 ? '' : `?${query.join('&')}`)
}

function canonical(name: string): string {
  return (olderNames as Record<string, string>)[name] ?? name
}

await t.test('the table has every operation of the model and two more', (t) => {
  t.equal(model.length, 116)
  const named = new Set(model.map(({ name }) => canonical(name)))
  t.strictSame([...named, 'PostObject', 'Preflight'].sort(), [...operationNames].sort())
  t.equal(operationNames.length + Object.keys(olderNames).length, 116 + 2)
  t.end()
})

await t.test('the table says of bodies, digests and parameters what the model says', (t) => {
  for (const { name, body, digest, optionalQuery } of model) {
    if (canonical(name) !== name) continue
    const row = operations[name as keyof typeof operations]
    t.equal(row.takesBody, body, `${name} body`)
    t.equal(row.requiresDigest, digest, `${name} digest`)
    const known: readonly string[] = [...row.parameters, ...row.select]
    t.strictSame(optionalQuery.filter((parameter) => !known.includes(parameter)), [], `${name} parameters`)
  }
  t.strictSame(operationNames.filter((name) => operations[name].mayStream), ['PutObject', 'UploadPart'])
  t.end()
})

await t.test('every operation routes to itself, in every style of address and with every harmless mark', (t) => {
  const styles = [
    { bucket: '/my-bucket', key: '/a/b%20c', host: 'localhost:9000' },
    { bucket: '/my-bucket', key: '/a/b%20c', host: 's3.example.com' },
    { bucket: '', key: '/a/b%20c', host: 'my-bucket.s3.example.com' },
    { bucket: '', key: '/a/b%20c', host: 'MY-bucket.EXAMPLE.com:443' },
    { bucket: '/my-bucket/', key: 'a/b%20c', host: 'localhost' }
  ]
  const scope = 'X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2Fb&X-Amz-Date=1&X-Amz-Expires=9'
  const signature = `${scope}&X-Amz-SignedHeaders=host&X-Amz-Signature=ab`
  const marks = ['', 'x-id=Whatever', signature, 'AWSAccessKeyId=a&Expires=1&Signature=b%3D', `x-id=X&${signature}&x-amz-acl=private&X-Amz-Meta-A=1`]
  let count = 0
  for (const operation of model) {
    for (const { host, ...path } of styles) {
      for (const mark of marks) {
        let target = targetOf(operation, path)
        if (operation.name === 'WriteGetObjectResponse') target = '/my-bucket'
        if (mark !== '') target += `${target.includes('?') ? '&' : '?'}${mark}`
        if (operation.name === 'ListBuckets' && host.includes('bucket')) continue
        if (operation.name === 'ListDirectoryBuckets' && host.includes('bucket')) continue
        if (operation.name === 'WriteGetObjectResponse' && host.includes('bucket')) continue
        const headers = Object.fromEntries(operation.requiredHeaders.map((name) => [name, 'x']))
        const routed = ask(operation.method, target, { host, headers })
        if (routed.name !== canonical(operation.name)) t.fail(`${operation.method} ${target} is ${routed.name}, not ${operation.name}`)
        const names = routed.query.parameters.map(({ name }) => name)
        if (names.some((name) => /^x-|signature|^AWS|^Expires$/i.test(name))) t.fail(`${operation.name} keeps ${names.join()}`)
        const { level } = operations[routed.name]
        const addressed = routed.bucket === null ? 'service' : routed.key === null ? 'bucket' : 'object'
        if (addressed !== level) t.fail(`${routed.name} level`)
        const selected: readonly string[] = operations[routed.name].select
        if (routed.uploadId !== (selected.includes('uploadId') ? '7' : null)) t.fail(`${routed.name} upload id ${String(routed.uploadId)}`)
        if (routed.key !== null && routed.key !== 'a/b c') t.fail(`${routed.name} key ${routed.key}`)
        if (routed.bucket !== null && routed.bucket !== 'my-bucket') t.fail(`${routed.name} bucket ${routed.bucket}`)
        count += 1
      }
    }
  }
  t.comment(`${count.toLocaleString('en')} requests of ${model.length} operations routed`)
  t.ok(count > 2000)
  t.end()
})

await t.test('every optional parameter of the model is kept', (t) => {
  for (const operation of model.filter(({ optionalQuery }) => optionalQuery.length > 0)) {
    const base = targetOf(operation, { bucket: '/my-bucket', key: '/key' })
    const wanted = operation.optionalQuery.filter((name) => !base.includes(`${name}=`))
    const target = `${base}${base.includes('?') ? '&' : '?'}${wanted.map((name) => `${name}=v%2F1`).join('&')}`
    const routed = ask(operation.method, target, { headers: Object.fromEntries(operation.requiredHeaders.map((name) => [name, 'x'])) })
    t.equal(routed.name, canonical(operation.name), target)
    t.strictSame(wanted.map((name) => routed.query.get(name)), wanted.map(() => 'v/1'), operation.name)
  }
  t.end()
})

await t.test('no second sub-resource, no unknown one, no foreign verb is ever ignored', (t) => {
  const names = [...new Set(operationNames.flatMap((name) => operations[name].select.map((s) => s.split('=')[0] ?? '')))]
  let refused = 0
  for (const method of ['GET', 'HEAD', 'PUT', 'POST', 'DELETE']) {
    for (const path of ['/my-bucket', '/my-bucket/key']) {
      for (const a of names) {
        for (const b of names) {
          const values = (name: string): string => ({ 'list-type': 'list-type=2', 'select-type': 'select-type=2' })[name] ?? name
          const target = `${path}?${values(a)}${a === b ? '' : `&${values(b)}`}`
          let routed: Operation | undefined
          const code = errorCode(() => {
            routed = ask(method, target, { headers: { 'content-type': 'multipart/form-data' } })
          })
          if (routed === undefined) {
            refused += 1
            if (!['InvalidArgument', 'MethodNotAllowed', 'NotImplemented'].includes(code)) t.fail(`${method} ${target}: ${code}`)
            continue
          }
          const row = operations[routed.name]
          const known: readonly string[] = [...row.select.map((s) => s.split('=')[0]), ...row.parameters] as string[]
          if (!known.includes(a) || !known.includes(b)) t.fail(`${method} ${target} was taken for ${routed.name}`)
        }
      }
    }
  }
  t.comment(`${refused.toLocaleString('en')} contradictory or unknown combinations refused`)
  t.ok(refused > 10_000)
  t.end()
})

await t.test('special cases', (t) => {
  const upload = { 'x-amz-copy-source': '/b/k' }
  const cases: [method: string, target: string, expected: string, options?: Ask][] = [
    ['GET', '/', 'ListBuckets'],
    ['GET', '/my-bucket/', 'ListObjects'],
    ['PUT', '/my-bucket/', 'CreateBucket'],
    ['GET', '/my-bucket/?list-type=2&prefix=a', 'ListObjectsV2'],
    ['GET', '/my-bucket?list-type=1&prefix=a', 'ListObjects'],
    ['GET', '/my-bucket?list-type=3', 'InvalidArgument'],
    ['GET', '/my-bucket?list-type', 'InvalidArgument'],
    ['GET', '/my-bucket?versions&list-type=1', 'InvalidArgument'],
    ['GET', '/my-bucket?uploads=', 'ListMultipartUploads'],
    ['GET', '/my-bucket//', 'GetObject'],
    ['PUT', '/my-bucket/k', 'CopyObject', { headers: upload }],
    ['PUT', '/my-bucket/k?acl', 'PutObjectAcl', { headers: upload }],
    ['PUT', '/my-bucket/k?partNumber=1&uploadId=u', 'UploadPartCopy', { headers: upload }],
    ['PUT', '/my-bucket/k?X-Amz-Signature=a&x-amz-copy-source=b%2Fk', 'CopyObject'],
    ['PUT', '/my-bucket/k?x-amz-copy-source=b%2Fk', 'NotImplemented'],
    ['PUT', '/my-bucket/k?uploadId=u', 'InvalidArgument'],
    ['PUT', '/my-bucket/k?partNumber=1', 'InvalidArgument'],
    ['PUT', '/my-bucket/k?versionId=1', 'InvalidArgument'],
    ['PUT', '/my-bucket/k?append&position=0', 'NotImplemented'],
    ['PUT', '/my-bucket/k?some=thing', 'NotImplemented'],
    ['PUT', '/my-bucket/k', 'NotImplemented', { headers: { 'x-amz-write-offset-bytes': '0' } }],
    ['PUT', '/my-bucket/k', 'NotImplemented', { headers: { 'X-Amz-Meta-Snowball-Auto-Extract': 'True' } }],
    ['PUT', '/my-bucket/k', 'PutObject', { headers: { 'x-amz-meta-snowball-auto-extract': 'false' } }],
    ['PUT', '/my-bucket/k', 'NotImplemented', { headers: { 'X-Minio-Source-Mtime': '1' } }],
    ['GET', '/my-bucket/k', 'NotImplemented', { headers: { 'x-minio-extract': 'true' } }],
    ['GET', '/my-bucket/k?rgwx-stat=true', 'NotImplemented'],
    ['GET', '/my-bucket/k?cache-buster=1', 'GetObject'],
    ['GET', '/my-bucket/k?whatever', 'GetObject'],
    ['HEAD', '/my-bucket/k?1467293847', 'HeadObject'],
    ['GET', '/my-bucket/k?v2=&versionId=1', 'GetObject'],
    ['GET', '/my-bucket/k?acl&v2', 'NotImplemented'],
    ['PUT', '/my-bucket/k?v2', 'NotImplemented'],
    ['DELETE', '/my-bucket/k?v2', 'NotImplemented'],
    ['GET', '/my-bucket?v2', 'NotImplemented'],
    ['GET', '/my-bucket/k?ObjectMeta', 'NotImplemented'],
    ['GET', '/my-bucket/k?versionId=1&versionId=2', 'InvalidArgument'],
    ['GET', '/my-bucket/k?acl&tagging', 'InvalidArgument'],
    ['GET', '/my-bucket/k?location', 'NotImplemented'],
    ['GET', '/my-bucket/k?uploads', 'MethodNotAllowed'],
    ['DELETE', '/my-bucket/k?restore', 'MethodNotAllowed'],
    ['DELETE', '/my-bucket?versions', 'MethodNotAllowed'],
    ['HEAD', '/my-bucket?acl', 'MethodNotAllowed'],
    ['POST', '/my-bucket/k', 'MethodNotAllowed'],
    ['PATCH', '/my-bucket/k', 'MethodNotAllowed'],
    ['DELETE', '/', 'MethodNotAllowed'],
    ['POST', '/', 'NotImplemented'],
    ['GET', '/?Action=ListUsers', 'NotImplemented'],
    ['POST', '/my-bucket', 'PreconditionFailed'],
    ['POST', '/my-bucket', 'PreconditionFailed', { headers: { 'content-type': 'multipart/form-datax; boundary=a' } }],
    ['POST', '/my-bucket', 'PostObject', { headers: { 'Content-Type': 'Multipart/Form-Data; boundary=a' } }],
    ['POST', '/', 'PostObject', { host: 'my-bucket.example.com', headers: { 'content-type': 'multipart/form-data; boundary=a' } }],
    ['OPTIONS', '/my-bucket/k?acl', 'Preflight'],
    ['OPTIONS', '/', 'MethodNotAllowed'],
    ['GET', '/admin/user', 'InvalidBucketName'],
    ['GET', '/minio/health/live', 'InvalidBucketName'],
    ['GET', '/ab', 'InvalidBucketName'],
    ['GET', '//key', 'InvalidBucketName'],
    ['GET', '/a%2Fb/key', 'InvalidBucketName'],
    ['GET', '/..', 'InvalidBucketName'],
    ['GET', '/a..b/key', 'InvalidBucketName'],
    ['GET', '/192.168.5.4', 'InvalidBucketName'],
    ['GET', `/${'a'.repeat(64)}`, 'InvalidBucketName'],
    ['GET', `/${'a'.repeat(63)}`, 'ListObjects'],
    ['GET', '/Old_Bucket.Name-', 'ListObjects'],
    ['GET', '/key', 'InvalidBucketName', { host: '-.example.com' }],
    ['GET', `/my-bucket/${'%C3%A4'.repeat(512)}`, 'GetObject'],
    ['GET', `/my-bucket/${'%C3%A4'.repeat(512)}a`, 'KeyTooLongError'],
    ['GET', '/my-bucket/a%00b', 'InvalidURI'],
    ['GET', '/my-bucket/%ae%8a-', 'InvalidURI'],
    ['GET', '/my-bucket/%zz', 'InvalidURI']
  ]
  for (const [method, target, expected, options] of cases) {
    const code = asked(method, target, options)
    t.equal(code === 'ok' ? ask(method, target, options).name : code, expected, `${method} ${target.slice(0, 80)}`)
  }
  t.end()
})

await t.test('no word that some server knows is dropped from a read of an object', (t) => {
  for (const word of [...foreignSubResources, ...[...foreignSubResources].map((name) => name.toUpperCase())]) {
    for (const method of ['GET', 'HEAD']) {
      for (const tail of ['', '=', '=1']) t.not(asked(method, `/my-bucket/k?${word}${tail}`), 'ok', `${method} ${word}${tail}`)
    }
  }
  const known = operationNames.flatMap((name) => operations[name].select.map((text) => text.split('=')[0] ?? ''))
  for (const word of known.filter((name) => name !== 'partNumber')) {
    t.equal(asked('GET', `/my-bucket/k?${word}&v2`) === 'ok' ? ask('GET', `/my-bucket/k?${word}&v2`).name : 'refused', 'refused', word)
  }
  t.end()
})

await t.test('hosts', (t) => {
  const bucketAt = (host: string, anyDomains?: string[]): string | null =>
    ask('GET', '/pathbucket/key', { host, ...anyDomains === undefined ? {} : { anyDomains } }).bucket
  t.equal(bucketAt('localhost'), 'pathbucket')
  t.equal(bucketAt('127.0.0.1:9000'), 'pathbucket')
  t.equal(bucketAt('[::1]:9000'), 'pathbucket')
  t.equal(bucketAt('s3.example.com'), 'pathbucket', 'a domain is no bucket of a shorter domain')
  t.equal(bucketAt('a.b.c.s3.example.com'), 'a.b.c')
  t.equal(bucketAt('hosted.example.com:9000'), 'hosted')
  t.equal(bucketAt('badexample.com'), 'pathbucket', 'a label boundary is needed')
  t.equal(bucketAt('hosted.example.com', []), 'pathbucket')
  t.equal(ask('GET', '//key', { host: 'hosted.example.com' }).key, '/key')
  t.end()
})
