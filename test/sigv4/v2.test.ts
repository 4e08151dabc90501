import t from 'tap'
import { parseQuery } from '../../src/http/target.ts'
import { canonicalResourceV2, hasV2Credential, refuseUnsignedParameters, stringToSignV2 } from '../../src/sigv4/v2.ts'

await t.test('regression: a run of blanks in a header takes no more than its length', (t) => {
  const blanks = ' '.repeat(600_000)
  const parts = { method: 'GET', contentMd5: '', contentType: '', date: '', resource: '/' }
  // Minutes where every blank of the run began a search of its own; and nobody has to sign for it.
  const text = stringToSignV2({ ...parts, headers: new Map([['x-amz-meta-a', `\t a${blanks}b \t`]]) })
  t.equal(text, `GET\n\n\n\nx-amz-meta-a:a${blanks}b\n/`)
  t.end()
})

await t.test('regression: a signed parameter cannot be hidden in the value of another', async (t) => {
  const signed = parseQuery('response-content-type=text/plain&versionId=1')
  const changed = parseQuery('response-content-type=text/plain%26versionId%3D1')
  t.equal(canonicalResourceV2(null, '/b/k', changed), canonicalResourceV2(null, '/b/k', signed), 'one signature is good for both')
  const check = (text: string) => () => {
    refuseUnsignedParameters(parseQuery(text), new Map())
  }
  for (const text of ['response-content-type=text/plain%26versionId%3D1', 'response-expires=%26tagging', 'versionId=%26website%26x']) {
    t.throws(check(text), { name: 'S3Error', code: 'AccessDenied' }, text)
  }
  t.doesNotThrow(check('response-content-disposition=attachment;filename%3D%22a%26b%26tagging.txt%22&versionId=1'), 'an ampersand in a file name')
})

/** What botocore signs (HmacV1Auth.QSAOfInterest). */
const signedByBotocore = [
  'accelerate acl cors defaultObjectAcl location logging partNumber policy requestPayment torrent versioning versionId versions website uploads',
  'uploadId response-content-type response-content-language response-expires response-cache-control response-content-disposition',
  'response-content-encoding delete lifecycle tagging restore storageClass notification replication analytics metrics inventory select select-type object-lock'
].join(' ').split(' ')
/** Parameters of listings (AWS, ListObjectsV2, ListObjectVersions, ListMultipartUploads, ListParts), and the name that SDKs give an operation. */
const ofListings = [
  'continuation-token delimiter encoding-type fetch-owner list-type max-keys prefix start-after marker key-marker version-id-marker max-uploads',
  'upload-id-marker max-parts part-number-marker x-id'
].join(' ').split(' ')

await t.test('each parameter is signed, harmless or refused', (t) => {
  const accepted = (query: string, hoisted: ReadonlyMap<string, string> = new Map()): boolean => {
    try {
      refuseUnsignedParameters(parseQuery(query), hoisted)
      return true
    } catch {
      return false
    }
  }
  for (const name of signedByBotocore) {
    t.equal(canonicalResourceV2(null, '/b/k', parseQuery(`${name}=1`)), `/b/k?${name}=1`, name)
    t.ok(accepted(`${name}=1`), name)
    t.notOk(accepted(`versionId=1%26${name}%3D1`), `${name} hidden in a value`)
  }
  for (const name of [...ofListings, 'AWSAccessKeyId', 'Expires', 'Signature']) {
    t.equal(canonicalResourceV2(null, '/b/k', parseQuery(`${name}=1`)), '/b/k', name)
    t.ok(accepted(name), name)
  }
  for (const name of ['retention', 'legal-hold', 'publicAccessBlock', 'encryption', 'attributes', 'ACL', 'x-amz-acl', '']) {
    t.notOk(accepted(`${name}=1`), name)
    t.equal(accepted(`${name}=1`, new Map([[name.toLowerCase(), '1']])), true, `${name} as a header`)
  }
  t.end()
})

await t.test('resource and string to sign', (t) => {
  t.equal(
    canonicalResourceV2('photos', '/k', parseQuery('uploads&prefix=a&partNumber=2&acl=&versionId=%C3%A4')),
    '/photos/k?acl&partNumber=2&uploads&versionId=\u00c3\u00a4'
  )
  const headers = new Map([['x-amz-b', ' 1  2\t'], ['x-amz-a', '3'], ['content-type', 'no'], ['not-x-amz-c', 'no']])
  t.equal(
    stringToSignV2({ method: 'PUT', contentMd5: 'MD5', contentType: 'type', date: 'date', headers, resource: '/r' }),
    'PUT\nMD5\ntype\ndate\nx-amz-a:3\nx-amz-b:1  2\n/r'
  )
  for (
    const [query, expected] of [['AWSAccessKeyId=1', true], ['signature', true], ['Expires=1', false], ['xSignature=1', false], [
      'Signaturex=1',
      false
    ]] as const
  ) {
    t.equal(hasV2Credential(parseQuery(query)), expected, query)
  }
  t.end()
})
