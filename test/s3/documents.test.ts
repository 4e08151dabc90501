import t from 'tap'
import {
  clientDocument,
  parseCompletedParts,
  parseDelete,
  parseEncryptionConfiguration,
  parseLocationConstraint,
  parseTagging,
  restoreSelects
} from '../../src/s3/documents.ts'
import { errorCode } from '../support/error-code.ts'

const limits = clientDocument(2_000_000)
const bytes = (text: string): Buffer => Buffer.from(text)

await t.test('Delete', (t) => {
  const parsed = parseDelete(
    bytes(`<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>true</Quiet>
    <Object><Key> a&#x1;/b </Key><VersionId>v</VersionId></Object>
    <Object><Key>c</Key><VersionId/><ETag>&quot;e-1&quot;</ETag><Size>12</Size><LastModifiedTime>t</LastModifiedTime></Object>
    </Delete>`),
    limits
  )
  t.strictSame(parsed, {
    quiet: true,
    objects: [
      { key: ' a\u0001/b ', versionId: 'v', etag: null, size: null, lastModifiedTime: null },
      { key: 'c', versionId: null, etag: 'e-1', size: 12, lastModifiedTime: 't' }
    ]
  })
  const many = (count: number): Buffer => bytes(`<Delete>${'<Object><Key>k</Key></Object>'.repeat(count)}</Delete>`)
  t.equal(parseDelete(many(1000), limits).objects.length, 1000)
  t.equal(parseDelete(many(1), limits).quiet, false)
  for (
    const body of [
      many(0),
      many(1001),
      bytes(''),
      bytes('<Deleted/>'),
      bytes('<Delete><Object/></Delete>'),
      bytes('<Delete><Object><Key/></Object></Delete>'),
      bytes('<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>'),
      bytes('<Delete><Object><Key>a</Key><Size>-1</Size></Object></Delete>')
    ]
  ) {
    t.equal(errorCode(() => parseDelete(body, limits)), 'MalformedXML', body.toString().slice(0, 60))
  }
  t.equal(errorCode(() => parseDelete(many(1000), clientDocument(1000))), 'MaxMessageLengthExceeded')
  t.end()
})

await t.test('CompleteMultipartUpload', (t) => {
  const body = (...parts: string[]): Buffer => bytes(`<CompleteMultipartUpload>${parts.map((p) => `<Part>${p}</Part>`).join('')}</CompleteMultipartUpload>`)
  const part = (number: number | string): string => `<PartNumber>${number}</PartNumber><ETag>"e"</ETag>`
  t.strictSame(
    parseCompletedParts(
      body(
        '<ETag>"a"</ETag><PartNumber>1</PartNumber><ChecksumCRC32>AAAAAA==</ChecksumCRC32><ChecksumSHA1/>',
        '<PartNumber> 10000 </PartNumber><ETag>&quot;b-0&quot;</ETag><ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME>'
      ),
      limits
    ),
    [
      { partNumber: 1, etag: 'a', checksums: { crc32: 'AAAAAA==' } },
      { partNumber: 10000, etag: 'b-0', checksums: { crc64nvme: 'AAAAAAAAAAA=' } }
    ]
  )
  const all = Array.from({ length: 10_000 }, (_, i) => part(i + 1))
  t.equal(parseCompletedParts(body(...all), limits).length, 10_000)
  t.equal(errorCode(() => parseCompletedParts(body(...all, part(10001)), limits)), 'InvalidArgument')
  const refused: [body: Buffer, code: string][] = [
    [body(), 'MalformedXML'],
    [bytes('<CompleteMultipartUpload/>'), 'MalformedXML'],
    [bytes('<Complete/>'), 'MalformedXML'],
    [body('<PartNumber>1</PartNumber>'), 'MalformedXML'],
    [body('<ETag>1</ETag>'), 'MalformedXML'],
    [body(part(2), part(1)), 'InvalidPartOrder'],
    [body(part(1), part(1)), 'InvalidPartOrder'],
    [body(`${part(1)}<ChecksumBLAKE3>x</ChecksumBLAKE3>`), 'InvalidRequest'],
    [body(`${part(1)}<ChecksumCRC32>x</ChecksumCRC32>`), 'InvalidArgument'],
    [body(`${part(1)}<ChecksumCRC32>AAAAAA==</ChecksumCRC32><ChecksumCRC32C>AAAAAA==</ChecksumCRC32C>`), 'InvalidArgument'],
    [body(part(0)), 'InvalidArgument'],
    [body(part(-1)), 'InvalidArgument'],
    [body(part('1e3')), 'InvalidArgument'],
    [body(part('')), 'InvalidArgument']
  ]
  for (const [document, code] of refused) t.equal(errorCode(() => parseCompletedParts(document, limits)), code, document.toString().slice(0, 99))
  t.end()
})

await t.test('ServerSideEncryptionConfiguration', (t) => {
  const body = (inner: string): Buffer => bytes(`<ServerSideEncryptionConfiguration>${inner}</ServerSideEncryptionConfiguration>`)
  const inner = '<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>k</KMSMasterKeyID>'
  const rule = `<ApplyServerSideEncryptionByDefault>${inner}</ApplyServerSideEncryptionByDefault>`
  const blocked = '<BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes>'
  t.strictSame(
    parseEncryptionConfiguration(body(`<Rule>${rule}<BucketKeyEnabled>true</BucketKeyEnabled>${blocked}</Rule>`), limits),
    { algorithm: 'aws:kms', kmsKeyId: 'k', bucketKeyEnabled: true, blockedTypes: ['SSE-C'] }
  )
  t.strictSame(parseEncryptionConfiguration(body(`<Rule>${rule.replace(/<KMS.*D>/, '')}</Rule>`), limits), {
    algorithm: 'aws:kms',
    kmsKeyId: null,
    bucketKeyEnabled: false,
    blockedTypes: []
  })
  for (
    const inner of [
      '',
      '<Rule/>',
      `<Rule>${rule}</Rule><Rule>${rule}</Rule>`,
      `<Rule>${rule}${rule}</Rule>`,
      '<Rule><ApplyServerSideEncryptionByDefault/></Rule>'
    ]
  ) {
    t.equal(errorCode(() => parseEncryptionConfiguration(body(inner), limits)), 'MalformedXML', inner)
  }
  t.end()
})

await t.test('Tagging, CreateBucketConfiguration, RestoreRequest', (t) => {
  const tag = (key: string): string => `<Tag><Key>${key}</Key><Value>v</Value></Tag>`
  t.strictSame(parseTagging(bytes(`<Tagging><TagSet>${tag('a')}${tag(' ')}</TagSet></Tagging>`), limits), [['a', 'v'], [' ', 'v']])
  t.strictSame(parseTagging(bytes('<Tagging><TagSet/></Tagging>'), limits), [])
  t.equal(errorCode(() => parseTagging(bytes(`<Tagging><TagSet>${tag('a')}${tag('a')}</TagSet></Tagging>`), limits)), 'InvalidTag')
  for (const text of ['<Tagging/>', '<TagSet/>', '<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>']) {
    t.equal(errorCode(() => parseTagging(bytes(text), limits)), 'MalformedXML', text)
  }
  t.equal(parseLocationConstraint(bytes(''), limits), null)
  t.equal(parseLocationConstraint(bytes('<CreateBucketConfiguration/>'), limits), null)
  const located = '<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>'
  t.equal(parseLocationConstraint(bytes(located), limits), 'eu-west-1')
  t.equal(errorCode(() => parseLocationConstraint(bytes('<LocationConstraint/>'), limits)), 'MalformedXML')
  const restore = '<RestoreRequest><Days>1</Days><GlacierJobParameters><Tier>Bulk</Tier></GlacierJobParameters></RestoreRequest>'
  t.equal(restoreSelects(bytes(restore), limits), false)
  t.equal(restoreSelects(bytes(''), limits), false)
  for (const inner of ['<Type>SELECT</Type>', '<SelectParameters/>', '<Days>1</Days><OutputLocation/>']) {
    t.equal(restoreSelects(bytes(`<RestoreRequest>${inner}</RestoreRequest>`), limits), true, inner)
  }
  t.end()
})
