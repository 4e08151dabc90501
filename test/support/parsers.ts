// Every reader of what a client or a store may write, for the growth campaign and the fuzzer. A seed is a valid input; § marks where
// something that does not end is put.
import { createHash, createSecretKey } from 'node:crypto'
import { Readable } from 'node:stream'
import { authenticate, authenticateForm, formHeaders } from '../../src/auth/authenticate.ts'
import { AwsChunkedDecoder } from '../../src/auth/body-verifier.ts'
import { authorize } from '../../src/auth/authorize.ts'
import { parseAttributes } from '../../src/envelope/attributes.ts'
import { metadataDigest } from '../../src/envelope/metadata.ts'
import { parseBucketRecord } from '../../src/envelope/bucket-record.ts'
import { openEnvelope, parseEnvelope } from '../../src/envelope/envelope.ts'
import { EnvelopeError } from '../../src/envelope/encoding.ts'
import { openTail } from '../../src/envelope/manifest.ts'
import { DataKey } from '../../src/envelope/data-key.ts'
import { openPartRecord, parseUploadRecord } from '../../src/envelope/upload-records.ts'
import { storedSize } from '../../src/envelope/sizes.ts'
import { S3Error } from '../../src/errors.ts'
import { decodeBase64 } from '../../src/http/checksums.ts'
import { HeaderList } from '../../src/http/message.ts'
import { parseQuery, parseTarget, percentEncode } from '../../src/http/target.ts'
import { openBackup } from '../../src/keys/keyring-backup.ts'
import { Keyring, KeyringError } from '../../src/keys/keyring.ts'
import { decodeContext, sseOfWrite } from '../../src/keys/sse-headers.ts'
import { customerKeyOf } from '../../src/keys/ssec.ts'
import { type ClientAddressSource, TrustedProxies } from '../../src/listener/client-address.ts'
import { parseProxyHeader } from '../../src/listener/proxy-protocol.ts'
import { admit } from '../../src/listener/request-validation.ts'
import { downstreamHeaders, refuseReservedMetadata, upstreamHeaders } from '../../src/plan/headers.ts'
import { grantsAsHeaders } from '../../src/store-client/object-properties.ts'
import { readBucketEncryption, lifecycleForClient, lifecycleForStore } from '../../src/s3/bucket-settings.ts'
import { evaluateConditions, ifRangeHolds } from '../../src/s3/conditions.ts'
import { parseCopySource } from '../../src/s3/names.ts'
import { corsHeaders, corsRule, matchingRule, parseCors, requestedHeaders } from '../../src/s3/cors.ts'
import { describe, describeWith } from '../../src/s3ec/description.ts'
import { S3ecError } from '../../src/s3ec/fault.ts'
import { instructionsOf, marksOf } from '../../src/s3ec/metadata.ts'
import { clientDocument, parseCompletedParts, parseDelete, parseLocationConstraint, parseTagging, restoreSelects } from '../../src/s3/documents.ts'
import { parseErrorXml, renderError } from '../../src/s3/error-document.ts'
import { writeListing } from '../../src/s3/listing.ts'
import { openListing } from '../../src/s3/scanned-listing.ts'
import { copySourceRange, parseRange } from '../../src/s3/range.ts'
import { readFormFields } from '../../src/s3/post-form.ts'
import { route } from '../../src/s3/route.ts'
import { rewriteXml, textOf, upstreamDocument, type XmlElement } from '../../src/s3/xml.ts'
import { checkPostPolicy, parsePostPolicy } from '../../src/sigv4/post-policy.ts'
import { parseXml as parseStoreXml } from '../../src/embedded-store/xml.ts'
import { parseTraceparent } from '../../src/observe/tracing.ts'
import { errorCode } from '../../src/upstream/errors.ts'
import { accessKeyId, context, httpRequest, timestamp, type Headers } from './signing.ts'

export interface Parser {
  readonly name: string
  /** Bytes of the longest input that reaches it. */
  readonly limit: number
  readonly seeds: readonly string[]
  /** Throws nothing but the errors that `isRefusal` knows. */
  readonly run: (input: Buffer) => unknown
}

const proxies = (from: ClientAddressSource): TrustedProxies => new TrustedProxies(['10.0.0.0/8'], from)

/** What a parser may throw: anything else is a fault. */
export function isRefusal(error: unknown): boolean {
  return error instanceof S3Error || error instanceof EnvelopeError || error instanceof KeyringError || error instanceof S3ecError
}

const KiB = 1024
/** Bytes of an error document, whatever it echoes. */
export const errorAllowance = 40 * KiB
const header = 16 * KiB
const document = 2 * 1024 * KiB
const client = clientDocument(document)
const auth = context()
const dataKey = DataKey.random()
const kek = createSecretKey(Buffer.alloc(32, 9))
const place = { realm: 'r', bucket: 'b', objectKey: 'k' }
const boundary = 'x'.repeat(70)
const zeros = createHash('sha256').digest('hex')

function latin1(input: Buffer): string {
  return input.toString('latin1')
}

/** Lines `name: value`, as the parser of HTTP would give them. */
function lines(input: Buffer): Headers {
  return latin1(input).split('\n').flatMap((line): Headers => {
    const colon = line.indexOf(':')
    return colon <= 0 ? [] : [[line.slice(0, colon), line.slice(colon + 1).trim()]]
  })
}

function visitTexts(bytes: Buffer): void {
  rewriteXml(bytes, (editor, xml) => {
    const visit = (element: XmlElement): void => {
      editor.setText(element, `${textOf(xml, element)}x`)
      editor.append(element, ['A', '1'])
      element.children.forEach(visit)
    }
    visit(xml.root)
  }, client)
}

function signedRequest(headers: Headers, target = '/bucket/key'): void {
  const names = [...new Set(['host', ...headers.map(([name]) => name.toLowerCase())])].sort().join(';')
  authenticate(
    httpRequest({
      method: 'GET',
      target,
      headers: [['Host', 'gateway'], ['X-Amz-Date', timestamp], ['X-Amz-Content-Sha256', zeros], ...headers, [
        'Authorization',
        `AWS4-HMAC-SHA256 Credential=${accessKeyId}/20130524/us-east-1/s3/aws4_request, SignedHeaders=${names};x-amz-content-sha256;x-amz-date, Signature=${zeros}`
      ]]
    }),
    auth
  )
}

const authorized = (value: string): unknown =>
  authenticate(
    httpRequest({
      method: 'GET',
      target: '/bucket/key',
      headers: [['Host', 'gateway'], ['Date', 'Fri, 24 May 2013 00:00:00 GMT'], ['X-Amz-Date', timestamp], ['X-Amz-Content-Sha256', zeros], [
        'Authorization',
        value
      ]]
    }),
    auth
  )

const xmlSeeds = [
  '<A>§</A>',
  '<A b="§">x</A>',
  '<A><!--§--><B/></A>',
  '<A><![CDATA[§]]></A>',
  '<A><?p §?></A>',
  '<A>§<B>1</B>§</A>',
  '<A§/>',
  '<!§><A/>',
  '§',
  '<A/>§'
]

const documents: readonly (Omit<Parser, 'limit'> & { readonly limit?: number })[] = [
  { name: 'XML editor', seeds: xmlSeeds, run: visitTexts },
  { name: 'XML reader of the embedded store', seeds: xmlSeeds, run: (input) => parseStoreXml(input, 'A') },
  {
    name: 'DeleteObjects',
    seeds: ['<Delete><Object><Key>k§</Key><ETag>"e§"</ETag><Size>1</Size></Object>§<Quiet>true</Quiet></Delete>'],
    run: (input) => parseDelete(input, client)
  },
  {
    name: 'CompleteMultipartUpload',
    run: (input) => parseCompletedParts(input, client),
    seeds: [
      '<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"e§"</ETag><ChecksumCRC32>§AAAAAA==</ChecksumCRC32></Part>§</CompleteMultipartUpload>'
    ]
  },
  { name: 'Tagging', seeds: ['<Tagging><TagSet><Tag><Key>k§</Key><Value>v§</Value></Tag>§</TagSet></Tagging>'], run: (input) => parseTagging(input, client) },
  {
    name: 'CreateBucketConfiguration',
    seeds: ['<CreateBucketConfiguration><LocationConstraint>eu§</LocationConstraint></CreateBucketConfiguration>'],
    run: (input) => parseLocationConstraint(input, client)
  },
  { name: 'RestoreRequest', seeds: ['<RestoreRequest><Days>1§</Days><Type>§</Type></RestoreRequest>'], run: (input) => restoreSelects(input, client) },
  {
    name: 'PutBucketEncryption',
    run: (input) => readBucketEncryption(input, client),
    seeds: [
      '<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms§</SSEAlgorithm><KMSMasterKeyID>k§</KMSMasterKeyID></ApplyServerSideEncryptionByDefault><BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType>§</BlockedEncryptionTypes></Rule></ServerSideEncryptionConfiguration>'
    ]
  },
  {
    name: 'lifecycle for the store',
    run: (input) => lifecycleForStore(input, storedSize, client),
    seeds: ['<LifecycleConfiguration><Rule><Filter><ObjectSizeGreaterThan>5§</ObjectSizeGreaterThan></Filter></Rule>§</LifecycleConfiguration>']
  },
  {
    name: 'lifecycle for the client',
    limit: 16 * 1024 * KiB,
    run: (input) => lifecycleForClient(input, storedSize, upstreamDocument),
    seeds: ['<LifecycleConfiguration><Rule><Filter><ObjectSizeLessThan>5000§</ObjectSizeLessThan></Filter></Rule>§</LifecycleConfiguration>']
  },
  {
    name: 'listing',
    limit: 16 * 1024 * KiB,
    run: (input) => writeListing(input, () => ({ size: 1, etag: 'e', checksums: [['ChecksumCRC32', 'x']] })),
    seeds: [
      '<ListBucketResult><EncodingType>url</EncodingType><KeyCount>1</KeyCount><Contents><Key>a%20b§</Key><Size>5</Size><ETag>"e§"</ETag><ChecksumCRC32>§</ChecksumCRC32><UserMetadata><X-Amz-Meta-Sealgate>§</X-Amz-Meta-Sealgate></UserMetadata></Contents>§</ListBucketResult>',
      '<ListPartsResult><Key>k</Key><Part><PartNumber>1</PartNumber><ETag>"e"</ETag><Size>5</Size></Part>§</ListPartsResult>'
    ]
  },
  {
    name: 'listing that is scanned',
    limit: 16 * 1024 * KiB,
    run: async (input) => {
      const listing = await openListing(input)
      return listing.write(listing.rows.map(({ key }) => ({ size: key.length, etag: 'e', checksums: [] })), (key) => key.endsWith('x'))
    },
    seeds: [
      '<?xml version="1.0"?><ListBucketResult xmlns="§"><KeyCount>1</KeyCount><Contents><Key>a§</Key><Size>5</Size><ETag>"e§"</ETag><ChecksumCRC32>§</ChecksumCRC32>§</Contents><CommonPrefixes><Prefix>§</Prefix></CommonPrefixes>§</ListBucketResult>',
      '<ListVersionsResult><IsTruncated>true</IsTruncated><Version><Key>k</Key><Owner><ID>§</ID></Owner></Version>§<DeleteMarker><Key>x</Key></DeleteMarker></ListVersionsResult>'
    ]
  },
  {
    name: 'error document of the store',
    limit: 64 * KiB,
    run: (input) => parseErrorXml(input),
    seeds: ['<Error><Code>NoSuchKey</Code><Message>m§</Message><Key>k</Key>§</Error>', '<!§>', '§']
  },
  {
    name: 'CORS rules',
    limit: 256 * KiB,
    run: (input) => parseCors(input),
    seeds: [
      '<CORSConfiguration><CORSRule><AllowedOrigin>https://*.example§</AllowedOrigin><AllowedMethod>GET</AllowedMethod><AllowedHeader>x-*§</AllowedHeader><ExposeHeader>ETag</ExposeHeader>§</CORSRule>§</CORSConfiguration>'
    ]
  },
  {
    name: 'AccessControlPolicy',
    limit: 16 * 1024 * KiB,
    run: (input) => grantsAsHeaders(input),
    seeds: [
      '<AccessControlPolicy><Owner><ID>o</ID></Owner><AccessControlList><Grant><Grantee><ID>i§</ID></Grantee><Permission>READ</Permission></Grant>§</AccessControlList></AccessControlPolicy>'
    ]
  }
]

const rules = Array.from({ length: 100 }, (_, i) =>
  corsRule({
    origins: Array.from({ length: 8 }, (_, j) => `https://*.${i}-${j}.example`),
    methods: ['GET'],
    headers: Array.from({ length: 20 }, (_, j) => `x-${i}-${j}-*`),
    expose: ['ETag'],
    maxAge: null
  }))

const texts: readonly Omit<Parser, 'limit'>[] = [
  {
    name: 'Authorization, Version 4',
    seeds: [
      `AWS4-HMAC-SHA256 Credential=${accessKeyId}§/20130524/us-east-1§/s3/aws4_request, SignedHeaders=host§;x-amz-content-sha256;x-amz-date, Signature=${zeros}§`,
      'AWS4-HMAC-SHA256 §'
    ],
    run: (input) => authorized(latin1(input))
  },
  { name: 'Authorization, Version 2', seeds: [`AWS ${accessKeyId}§:§AAAAAAAAAAAAAAAAAAAAAAAAAAA=`, 'AWS §'], run: (input) => authorized(latin1(input)) },
  {
    name: 'presigned query',
    run: (input) => authenticate(httpRequest({ method: 'GET', target: latin1(input), headers: [['Host', 'gateway']] }), auth),
    seeds: [
      `/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${accessKeyId}%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=${timestamp}&X-Amz-Expires=60&X-Amz-SignedHeaders=host§&x-amz-meta-a=§&§&X-Amz-Signature=${zeros}`,
      `/b/k§?AWSAccessKeyId=${accessKeyId}§&Expires=1369353700&versionId=§&x-amz-meta-a=§&§&Signature=AAAA`,
      '/b/k?X-Amz-Signature=§'
    ]
  },
  {
    name: 'target and route',
    seeds: ['/bucket/key§?versionId=1§&partNumber=1§', '/bucket?list-type=2&prefix=§&delimiter=§', '/bucket?uploads§', '/§', '/bucket/k?§'],
    run: (input) => {
      const target = parseTarget(latin1(input))
      for (const method of ['GET', 'PUT', 'POST', 'DELETE']) {
        try {
          route({ method, target, headers: new HeaderList([]), host: 'bucket.gateway' }, ['gateway', 'other'])
        } catch (error) {
          if (!isRefusal(error)) throw error
        }
      }
    }
  },
  {
    name: 'headers of a request',
    seeds: ['host: gateway\ncontent-length: 5§\nconnection: close, §\nexpect: §\nx-amz-meta-a: §', '§: 1\nhost: §'],
    run: (input) => admit({ method: 'PUT', url: '/b/k', httpVersion: '1.1', rawHeaders: lines(input).flat() })
  },
  {
    name: 'headers that are signed',
    seeds: ['x-amz-meta-a: b§\nrange: §\ncontent-type: a§', 'x-amz-meta-a: 1\nx-amz-meta-a: §\n§: 1'],
    run: (input) => {
      signedRequest(lines(input).slice(0, 256))
    }
  },
  {
    name: 'headers of the policy of headers',
    seeds: ['x-amz-meta-sealgate-x: §\nx-amz-grant-read: §\nx-amz-checksum-crc32: §', '§: 1'],
    run: (input) => {
      const headers = lines(input).map(([name, value]): [string, string] => [name.toLowerCase(), value])
      upstreamHeaders(headers, 'document')
      downstreamHeaders(new HeaderList(headers), 'plain')
      metadataDigest('a/b', headers)
      refuseReservedMetadata(headers)
    }
  },
  {
    name: 'range',
    seeds: ['bytes=0§-5§', 'bytes=-5§', '§'],
    run: (input) => {
      parseRange(latin1(input))
      copySourceRange(latin1(input), 10)
    }
  },
  {
    name: 'conditions and dates',
    seeds: ['"a", W/"b", §', 'Sun, 06 Nov 1994 08:49:37 GMT§', '"§', 'Sunday, 06-Nov-94 08:49:37 GMT', 'Sun Nov  6 08:49:37 1994'],
    run: (input) => {
      const value = latin1(input)
      const object = { etag: '"abc"', lastModified: 'Sun, 06 Nov 1994 08:49:37 GMT' }
      for (const name of ['ifMatch', 'ifNoneMatch', 'ifModifiedSince', 'ifUnmodifiedSince']) evaluateConditions({ [name]: value }, object)
      ifRangeHolds(value, object)
    }
  },
  { name: 'copy source', seeds: ['/bucket/k%20e§?versionId=1§', '§', 'arn:aws:s3:::§'], run: (input) => parseCopySource(latin1(input)) },
  {
    name: 'CORS question',
    seeds: ['https://a.5-3.example§\nx-5-3-a, §', '§\n§'],
    run: (input) => {
      const [origin = '', names = ''] = latin1(input).split('\n')
      const question = { origin, method: 'GET', headers: requestedHeaders(names) }
      const rule = matchingRule(rules, question)
      if (rule !== undefined) corsHeaders(rule, question)
    }
  },
  { name: 'encryption context', seeds: [Buffer.from('{"a":"b"}').toString('base64'), '§'], run: (input) => decodeContext(latin1(input)) },
  {
    name: 'encryption headers',
    seeds: [
      'x-amz-server-side-encryption: aws:kms§\nx-amz-server-side-encryption-context: §',
      'x-amz-server-side-encryption-customer-algorithm: AES256\nx-amz-server-side-encryption-customer-key: §AAAA\nx-amz-server-side-encryption-customer-key-md5: §'
    ],
    run: (input) => {
      const headers = new Map(lines(input))
      sseOfWrite(headers, true)
      customerKeyOf(headers, 'object', true)
    }
  },
  { name: 'base64', seeds: ['AAAA§', '§'], run: (input) => decodeBase64(latin1(input), 16) },
  {
    name: 'tags in a header',
    seeds: ['a=b&c=d§', '§'],
    run: (input) => parseQuery(latin1(input)).parameters.map(({ name }) => percentEncode(name, { keepSlash: false }))
  },
  {
    name: 'bucket patterns',
    seeds: ['bucket§', '§'],
    run: (input) => {
      authorize({
        accessKeyId,
        buckets: ['a*b*c*d', '*a*', 'x*'],
        readOnly: false,
        identities: {},
        limits: { requests: null, requestsPerSecond: null, bytesPerSecond: null }
      }, { bucket: latin1(input), own: false, write: true })
    }
  },
  {
    name: 'error answer',
    seeds: ['message§', '§'],
    run: (input) => {
      const error = new S3Error('InvalidArgument', {
        message: latin1(input),
        fields: { StringToSign: latin1(input), CanonicalRequest: latin1(input), CanonicalRequestBytes: latin1(input) }
      })
      if (renderError(error, { resource: latin1(input), requestId: 'R', hostId: 'H' }).length > errorAllowance) {
        throw new Error('An answer of many times its request.')
      }
    }
  },
  {
    name: 'envelope',
    seeds: ['AQAA§', '§'],
    run: (input) => {
      openEnvelope(parseEnvelope(latin1(input)), kek, place)
    }
  },
  {
    name: 'metadata of the S3 Encryption Client',
    seeds: [
      'x-amz-meta-x-amz-key-v2: AAAA§\nx-amz-meta-x-amz-iv: AAAAAAAAAAAAAAAA\nx-amz-meta-x-amz-matdesc: {"a":"b"§}\nx-amz-meta-x-amz-wrap-alg: AES/GCM\nx-amz-meta-x-amz-cek-alg: AES/GCM/NoPadding\nx-amz-meta-x-amz-tag-len: 128',
      'x-amz-meta-x-amz-key: AAAA\nx-amz-meta-x-amz-iv: AAAAAAAAAAAAAAAAAAAAAA==\nx-amz-meta-x-amz-matdesc: §',
      'x-amz-meta-x-amz-3: AAAA\nx-amz-meta-x-amz-w: 02\nx-amz-meta-x-amz-c: 115\nx-amz-meta-x-amz-m: =?UTF-8?Q?{"=C3=BC":"§"}?=§',
      'x-amz-meta-x-amz-3: AAAA\nx-amz-meta-x-amz-w: 02\nx-amz-meta-x-amz-c: 115\nx-amz-meta-x-amz-m: §'
    ],
    run: (input) => {
      const marks = marksOf(new HeaderList(lines(input)))
      if (marks.kind === 'described') describe(marks.entries)
    }
  },
  { name: 'error code of the store', seeds: ['<Error><Code>§NoSuchKey§</Code>', '<Code>§', '§'], run: (input) => errorCode(input) },
  { name: 'traceparent', seeds: ['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01§', '§'], run: (input) => parseTraceparent(latin1(input)) },
  {
    name: 'X-Forwarded-For',
    seeds: ['1.2.3.4, 10.0.0.1§', '§, 10.0.0.1', '10.0.0.1§, 10.0.0.1'],
    run: (input) => proxies('x-forwarded-for').client(['X-Forwarded-For', latin1(input)], '10.0.0.1')
  },
  {
    name: 'Forwarded',
    seeds: ['for=1.2.3.4;proto=https, for="[2001:db8::1]:5"§', '§, for=10.0.0.1', 'for="§"', 'for=10.0.0.1;§', 'for=10.0.0.1§, for=10.0.0.1'],
    run: (input) => proxies('forwarded').client(['Forwarded', latin1(input)], '10.0.0.1')
  },
  {
    name: 'PROXY header',
    seeds: ['PROXY TCP4 1.2.3.4 5.6.7.8 1 2§\r\n', 'PROXY UNKNOWN §', '\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c§'],
    run: (input) => parseProxyHeader(input)
  },
  { name: 'name of a part record', seeds: ['AAAA§', '§'], run: (input) => openPartRecord(dataKey, Buffer.alloc(32), latin1(input)) }
]

const bodies: readonly Parser[] = [
  {
    name: 'policy of a form',
    limit: 20 * KiB,
    seeds: [
      '{"expiration":"2013-05-25T00:00:00Z","conditions":[{"bucket":"b"},["starts-with","$key","§"],["content-length-range",0,5],§]}',
      '§',
      '{"conditions":§',
      '{"a":§'
    ],
    run: (input) => {
      const fields = new Map([['key', 'k'], ['bucket', 'b'], ['content-type', 'a,'.repeat(5000)]])
      checkPostPolicy(parsePostPolicy(input.toString('base64')), fields, new Date('2013-05-24T00:00:00Z'))
    }
  },
  { name: 'policy of a form, as sent', limit: 20 * KiB, seeds: ['eyJ9§', '§'], run: (input) => parsePostPolicy(latin1(input)) },
  {
    name: 'form',
    limit: 80 * KiB,
    seeds: [
      `--${boundary}\r\nContent-Disposition: form-data; name="key"§\r\n\r\nk\${filename}§\r\n--${boundary}\r\nContent-Disposition: form-data; name="policy"\r\n\r\n§\r\n--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="f§"\r\n\r\nx§\r\n--${boundary}--\r\n`,
      `--${boundary}\r\nContent-Disposition: form-data; name="§`,
      `--${boundary}\r\nContent-Disposition: form-data; §`,
      '§'
    ],
    run: async (input) => {
      const form = await readFormFields(Readable.from([input], { objectMode: false }), `multipart/form-data; boundary=${boundary}`)
      formHeaders(form.expanded())
      authenticateForm(httpRequest({ method: 'POST', target: '/b', headers: [['Host', 'gateway']] }), { ...form, bucket: 'b' }, auth)
    }
  },
  {
    name: 'aws-chunked',
    limit: document,
    seeds: ['5\r\nhello\r\n0§\r\nx-amz-checksum-crc32:AAAAAA==§\r\n\r\n', '5§\r\nhello§', '0\r\n§', '§'],
    run: (input) => {
      const decoder = new AwsChunkedDecoder(5, null, true)
      for (let at = 0; at < input.length; at += 1000) decoder.decode(input.subarray(at, at + 1000), [])
      decoder.end()
    }
  },
  {
    name: 'attributes',
    limit: KiB,
    seeds: ['\0\0§', '§'],
    run: (input) => {
      for (const shape of [{ kind: 'single', streamHeader: Buffer.alloc(40) }, { kind: 'multipart' }, { kind: 'empty' }] as const) parseAttributes(input, shape)
    }
  },
  {
    name: 'manifest',
    limit: 1_310_562,
    seeds: ['§\0\0\0\0sealgate', '§'],
    run: (input) => {
      for (const kind of ['single', 'multipart'] as const) openTail(input, storedSize(5_000_000), dataKey, kind)
    }
  },
  { name: 'upload record', limit: 64 * KiB, seeds: ['\0§', '§'], run: (input) => parseUploadRecord(input) },
  {
    name: 'instruction file',
    limit: 16 * KiB,
    seeds: ['{"x-amz-key":"AAAA§","x-amz-iv":"§","x-amz-matdesc":"{\\"a\\":\\"b\\"}"§}', '§{"x-amz-tag-len":128§,', '{§'],
    run: (input) => {
      const entries = instructionsOf(input)
      if (entries !== null) describeWith(new Map(), entries)
    }
  },
  { name: 'bucket record', limit: 64 * KiB, seeds: ['\0§', '§'], run: (input) => parseBucketRecord(input) },
  {
    name: 'keyring',
    limit: document,
    seeds: ['{"name":"n","keys":[{"id":"1§","state":"enabled","key":"AAAA§","created":"2020-01-01T00:00:00Z"},§]}', '§', '{"name":§'],
    run: (input) => Keyring.parse(Buffer.from(input))
  },
  {
    name: 'keyring backup',
    limit: document,
    seeds: ['sealgate-keys-1\n\0§', '§'],
    run: async (input) => {
      // Without the cost of scrypt, which the file names within bounds.
      const backup = Buffer.from(input)
      backup[16] = 0
      await openBackup(backup, Buffer.from('a passphrase of many bytes'))
    }
  }
]

export const parsers: readonly Parser[] = [
  ...documents.map((parser) => ({ limit: document, ...parser })),
  ...texts.map((parser) => ({ limit: header, ...parser })),
  ...bodies
]
