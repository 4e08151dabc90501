import { readFileSync } from 'node:fs'
import t from 'tap'
import { operationNames, operations } from '../../src/s3/operations.ts'
import { compatibilityMarkdown } from '../../docs/generate/compatibility.ts'
import { type OperationsOf, plan, planners } from '../../src/plan/plan.ts'
import type { Handler, ObjectContext, OperationContext, UploadContext } from '../../src/operations/context.ts'
import { handlers } from '../../src/operations/handlers.ts'

const sealed = { encryption: 'on' } as const
const plain = { encryption: 'off' } as const

await t.test('docs/COMPATIBILITY.md is what the tables say', (t) => {
  const committed = readFileSync(new URL('../../docs/COMPATIBILITY.md', import.meta.url), 'utf8')
  t.ok(
    committed === compatibilityMarkdown(),
    'print it anew: node -e "import(\'./docs/generate/compatibility.ts\')'
      + '.then((m) => fs.writeFileSync(\'docs/COMPATIBILITY.md\', m.compatibilityMarkdown()))"'
  )
  const model = JSON.parse(readFileSync(new URL('../s3/operations.json', import.meta.url), 'utf8')) as { name: string }[]
  t.strictSame(model.filter(({ name }) => !new RegExp(`[|,] ${name}(?= [|]|,)`).test(committed)).map(({ name }) => name), [], 'all 116 are named')
  t.end()
})

await t.test('a handler is planned only for operations that have what it needs', (t) => {
  type Answer = ReturnType<Handler<'GetObject'>>
  const handler = <C>(_: (ctx: C) => Answer): (ctx: C) => Answer => _
  const ofKey = handler((_: ObjectContext): Answer => Promise.reject(new Error('a type is all that is asked of it')))
  const ofUpload = handler((_: UploadContext): Answer => ofKey(_))
  const ofAny = handler((_: OperationContext): Answer => Promise.reject(new Error('a type is all that is asked of it')))
  const fits: readonly unknown[] = [
    ofKey satisfies Handler<OperationsOf<'getObject'>>,
    ofUpload satisfies Handler<OperationsOf<'uploadPart'>>,
    ofAny satisfies Handler<OperationsOf<'forward'>>,
    // @ts-expect-error a bucket has no key
    ofKey satisfies Handler<OperationsOf<'listObjects'>>,
    // @ts-expect-error no upload is named when one is created
    ofUpload satisfies Handler<OperationsOf<'createMultipartUpload'>>,
    // @ts-expect-error whatever is forwarded may be of a bucket
    ofKey satisfies Handler<OperationsOf<'forward'>>
  ]
  t.equal(fits.length, 6)
  const planned = new Set(operationNames.flatMap((name) => [planners[name].on.handler, planners[name].off.handler]))
  t.strictSame([...planned].filter((name) => !(name in handlers)).sort(), ['preflight', 'refuse'], 'each has its handler')
  t.strictSame(Object.keys(handlers).filter((name) => !([...planned] as string[]).includes(name)), [], 'and none is left over')
  t.end()
})

await t.test('object bytes never travel unsealed in a sealed bucket', (t) => {
  for (const name of operationNames) {
    const { effect } = plan(name, sealed)
    const { takesBody, write } = operations[name]
    if (takesBody === 'data' || takesBody === 'form') t.ok(['seal', 'refuse'].includes(effect), `${name}: ${effect}`)
    if (effect === 'seal') t.ok(write, `${name} is a write`)
    if (effect === 'open') t.notOk(write, `${name} is a read`)
  }
  // Answers with sizes, ETags or bytes of objects are never passed unchanged.
  for (
    const name of [
      'GetObject',
      'HeadObject',
      'GetObjectAttributes',
      'CopyObject',
      'UploadPartCopy',
      'ListObjects',
      'ListObjectsV2',
      'ListObjectVersions',
      'ListParts',
      'DeleteObject',
      'DeleteObjects',
      'CompleteMultipartUpload',
      'SelectObjectContent',
      'GetObjectTorrent',
      'PutBucketLifecycleConfiguration'
    ] as const
  ) {
    t.not(plan(name, sealed).handler, 'forward', name)
  }
  t.end()
})

await t.test('a plain bucket is passed through, but for what needs the gateway', (t) => {
  const own = operationNames.filter((name) => !['forward', 'refuse'].includes(plan(name, plain).handler))
  t.strictSame([...own].sort(), [
    'CompleteMultipartUpload',
    'CopyObject',
    'CreateBucket',
    'DeleteBucketCors',
    'GetBucketLocation',
    'HeadBucket',
    'ListBuckets',
    'PostObject',
    'Preflight',
    'PutBucketAnalyticsConfiguration',
    'PutBucketCors',
    'PutBucketInventoryConfiguration',
    'PutBucketLogging',
    'PutBucketMetricsConfiguration',
    'PutBucketNotificationConfiguration',
    'PutBucketReplication',
    'RestoreObject',
    'UploadPartCopy'
  ])
  t.end()
})

await t.test('refusals say why, and hold in both kinds of bucket', (t) => {
  for (const name of operationNames) {
    const { on, off } = planners[name]
    t.equal(on.effect === 'refuse', on.handler === 'refuse', name)
    t.equal(on.effect === 'refuse', off.effect === 'refuse', name)
    if (on.effect !== 'forward') t.not(on.note, '', `${name} says what changes`)
  }
  t.equal(plan('ListBuckets', null).effect, 'rewrite', 'no bucket, no policy')
  t.end()
})
