import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  GetBucketAclCommand,
  GetBucketLocationCommand,
  GetBucketVersioningCommand,
  HeadBucketCommand,
  ListBucketsCommand,
  PutBucketAclCommand,
  PutBucketVersioningCommand,
  PutObjectCommand
} from '@aws-sdk/client-s3'
import t from 'tap'
import { documentRules } from '../../src/embedded-store/buckets.ts'
import { MemoryBackend } from '../../src/embedded-store/memory.ts'
import { rawRequest } from '../support/raw-client.ts'
import { failure, onEachBackend, startRig } from './rig.ts'
import { signedRequest } from './signed-request.ts'

await onEachBackend(t, async (t, { client, endpoint }) => {
  await t.test('create, head, list, delete', async (t) => {
    for (const Bucket of ['bbb', 'aaa']) t.equal((await client.send(new CreateBucketCommand({ Bucket }))).Location, `/${Bucket}`)
    t.equal(await failure(client.send(new CreateBucketCommand({ Bucket: 'aaa' }))), 'no failure', 'us-east-1 lets one own a bucket twice')
    t.same((await client.send(new ListBucketsCommand({}))).Buckets?.map(({ Name }) => Name), ['aaa', 'bbb'])
    const page = await client.send(new ListBucketsCommand({ MaxBuckets: 1 }))
    t.same((await client.send(new ListBucketsCommand({ ContinuationToken: page.ContinuationToken }))).Buckets?.map(({ Name }) => Name), ['bbb'])
    t.equal((await client.send(new HeadBucketCommand({ Bucket: 'aaa' }))).BucketRegion, 'us-east-1')
    t.equal((await client.send(new GetBucketLocationCommand({ Bucket: 'aaa' }))).LocationConstraint, undefined)
    for (const Bucket of ['ab', 'Upper', 'under_score', '-dash', 'dot..dot', '1.2.3.4', 'x'.repeat(64)]) {
      t.equal(await failure(client.send(new CreateBucketCommand({ Bucket }))), '400 InvalidBucketName', Bucket)
    }
    await client.send(new PutObjectCommand({ Bucket: 'bbb', Key: 'k', Body: '' }))
    t.equal(await failure(client.send(new DeleteBucketCommand({ Bucket: 'bbb' }))), '409 BucketNotEmpty')
    await client.send(new DeleteObjectCommand({ Bucket: 'bbb', Key: 'k' }))
    await client.send(new DeleteBucketCommand({ Bucket: 'bbb' }))
    t.equal(await failure(client.send(new DeleteBucketCommand({ Bucket: 'bbb' }))), '404 NoSuchBucket')
    t.match(await failure(client.send(new HeadBucketCommand({ Bucket: 'bbb' }))), /^404/)
  })

  await t.test('versioning and ACL', async (t) => {
    t.equal((await client.send(new GetBucketVersioningCommand({ Bucket: 'aaa' }))).Status, undefined)
    await client.send(new PutBucketVersioningCommand({ Bucket: 'aaa', VersioningConfiguration: { Status: 'Enabled' } }))
    t.equal((await client.send(new GetBucketVersioningCommand({ Bucket: 'aaa' }))).Status, 'Enabled')
    await client.send(new PutBucketAclCommand({ Bucket: 'aaa', ACL: 'public-read' }))
    t.equal((await client.send(new GetBucketAclCommand({ Bucket: 'aaa' }))).Grants?.length, 2)
    t.equal((await rawRequest(endpoint, 'GET /aaa?list-type=2 HTTP/1.1\r\nHost: x\r\n\r\n')).status, 200)
    t.equal((await rawRequest(endpoint, 'GET /aaa?policy HTTP/1.1\r\nHost: x\r\n\r\n')).status, 403)
  })

  await t.test('every document is returned unchanged', async (t) => {
    for (const [document, rule] of Object.entries(documentRules)) {
      const path = `/aaa?${document}`
      const before = await signedRequest(endpoint, { method: 'GET', path })
      if ('code' in rule.absent) t.match([before.status, before.body.toString()], [404, `<Code>${rule.absent.code}</Code>`], document)
      else t.equal(before.status, 200, document)
      const text = rule.root === null ?
        '{"Version":"2012-10-17"}'
        : `<${rule.root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><X>ü &amp; x</X></${rule.root}>`
      if (document === 'object-lock') {
        t.equal((await signedRequest(endpoint, { method: 'PUT', path, body: text, contentMd5: true })).status, 400, 'not in a bucket without lock')
        continue
      }
      if (rule.digest === 'demanded') t.equal((await signedRequest(endpoint, { method: 'PUT', path, body: text })).status, 400, 'without digest')
      t.equal((await signedRequest(endpoint, { method: 'PUT', path, body: '<Wrong/>', contentMd5: true })).status, 400)
      t.equal((await signedRequest(endpoint, { method: 'PUT', path, body: text, contentMd5: true })).status, document === 'policy' ? 204 : 200)
      t.equal((await signedRequest(endpoint, { method: 'GET', path })).body.toString(), text)
      t.equal((await signedRequest(endpoint, { method: 'DELETE', path })).status, rule.deletable ? 204 : 405)
      if (rule.deletable) t.equal((await signedRequest(endpoint, { method: 'GET', path })).status, before.status)
    }
  })

  await t.test('missing features answer 501, and never act as another operation', async (t) => {
    for (const path of ['/aaa?id=x&inventory', '/aaa/k?torrent', '/aaa/k?select&select-type=2', '/aaa?unheard-of', '/aaa/k?restore']) {
      for (const method of ['GET', 'PUT', 'POST', 'DELETE']) t.equal((await signedRequest(endpoint, { method, path })).status, 501, `${method} ${path}`)
    }
    t.equal((await signedRequest(endpoint, { method: 'POST', path: '/aaa/k' })).status, 405)
    t.equal((await signedRequest(endpoint, { method: 'PATCH', path: '/aaa/k' })).status, 405)
  })
})

await t.test('other regions, virtual hosts', async (t) => {
  const { client, close, endpoint } = await startRig(new MemoryBackend(), { region: 'eu-west-1', domain: 's3.test' })
  t.teardown(close)
  const Bucket = 'region'
  t.equal(
    await failure(client.send(new CreateBucketCommand({ Bucket, CreateBucketConfiguration: { LocationConstraint: 'eu-west-2' } }))),
    '400 IllegalLocationConstraintException'
  )
  await client.send(new CreateBucketCommand({ Bucket, CreateBucketConfiguration: { LocationConstraint: 'eu-west-1' } }))
  t.equal(await failure(client.send(new CreateBucketCommand({ Bucket }))), '409 BucketAlreadyOwnedByYou')
  t.equal((await client.send(new GetBucketLocationCommand({ Bucket }))).LocationConstraint, 'eu-west-1')
  t.equal((await signedRequest(endpoint, { method: 'PUT', path: '/a//b', body: 'x', region: 'eu-west-1', host: 'region.s3.test' })).status, 200)
  t.equal((await signedRequest(endpoint, { method: 'GET', path: '/region/a//b', region: 'eu-west-1' })).body.toString(), 'x')
  const wrong = await signedRequest(endpoint, { method: 'GET', path: '/region', region: 'eu-west-2' })
  t.match([wrong.status, wrong.body.toString()], [400, '<Region>eu-west-1</Region>'])
})
