import t from 'tap'
import { S3Error } from '../../src/errors.ts'
import { parseQuery } from '../../src/http/target.ts'
import { malformedHeader, parseAuthorization, parseContentSha256, parseCredential, parseSignedHeaders } from '../../src/sigv4/claims.ts'
import { hasPresignedCredential, isPresignParameter } from '../../src/sigv4/presigned.ts'

function refusal(read: () => unknown): S3Error {
  try {
    read()
  } catch (error) {
    if (error instanceof S3Error) return error
  }
  throw new Error('accepted')
}

const credential = (text: string) => parseCredential(text, [], malformedHeader)

await t.test('credentials are counted from the end', (t) => {
  t.same(credential('AKIA/20130524/us-east-1/s3/aws4_request'), {
    accessKeyId: 'AKIA',
    date: '20130524',
    region: 'us-east-1',
    scope: '20130524/us-east-1/s3/aws4_request'
  })
  t.equal(credential('a/b//20130524/r/s3/aws4_request').accessKeyId, 'a/b/')
  t.equal(credential(`${'a'.repeat(128)}/20130524/r/s3/aws4_request`).accessKeyId.length, 128)
  for (
    const text of [
      '',
      'aws4_request',
      's3/aws4_request',
      'r/s3/aws4_request',
      '20130524/r/s3/aws4_request',
      '/20130524/r/s3/aws4_request',
      `${'a'.repeat(129)}/20130524/r/s3/aws4_request`,
      'a/2013052/r/s3/aws4_request',
      'a/201305240/r/s3/aws4_request',
      'a/2013052x/r/s3/aws4_request',
      'a/20130524/r,/s3/aws4_request',
      'a/20130524/r/s3/aws4_request/',
      'a/20130524/r/S3/aws4_request',
      'a/20130524/r/s3/AWS4_request'
    ]
  ) t.equal(refusal(() => credential(text)).code, 'AuthorizationHeaderMalformed', text)
  const wrong = refusal(() => parseCredential('a/20130524/r/s3/aws4_request', ['x', 'y'], malformedHeader))
  t.same([wrong.code, wrong.fields], ['AuthorizationHeaderMalformed', { Region: 'x' }])
  t.equal(parseCredential('a/20130524/y/s3/aws4_request', ['x', 'y'], malformedHeader).region, 'y')
  t.end()
})

await t.test('what is wrong is said as AWS says it, and nothing is repeated that may be a secret', (t) => {
  const said = (text: string): string => refusal(() => parseAuthorization(text, [])).message.replace('The authorization header is malformed; ', '')
  const rest = ',SignedHeaders=host,Signature=x'
  const rows: [text: string, message: string][] = [
    ['Credential=a/20130524/r/s3/aws4_request,Signature=x', 'the authorization header requires three components: Credential, SignedHeaders, and Signature.'],
    [`Credential=a/20130524/r/s3/aws4_request,key${rest.slice(19)}`, 'the authorization component "key" is malformed.'],
    [`Credential=a/20130524/r/s3/aws4_request,wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY${rest.slice(19)}`, 'the authorization component "" is malformed.'],
    [`Other=a/20130524/r/s3/aws4_request${rest}`, 'missing Credential.'],
    [`Credential=a/32234/r/s3/aws_request${rest}`, 'incorrect terminal "aws_request". This endpoint uses "aws4_request".'],
    [`Credential=a/32234/r/ec2/aws4_request${rest}`, 'incorrect service "ec2". This endpoint belongs to "s3".'],
    [`Credential=a/3223423234/r/s3/aws4_request${rest}`, 'incorrect date format "3223423234". This date in the credential must be in the format "yyyyMMdd".'],
    [`Credential=a/wJalrXUtnFEMIK7MDENG/r/s3/aws4_request${rest}`, 'incorrect date format "". This date in the credential must be in the format "yyyyMMdd".']
  ]
  for (const [text, message] of rows) t.equal(said(text), message)
  t.end()
})

await t.test('the three components, once each', (t) => {
  const items = ['Credential=a/20130524/r/s3/aws4_request', 'SignedHeaders=host', 'Signature=x=y']
  t.match(parseAuthorization(items.join(' , '), []), { credential: { accessKeyId: 'a' }, signedHeaders: ['host'], signature: 'x=y' })
  for (let i = 0; i < items.length; i += 1) {
    const [item = ''] = items.slice(i)
    const others = items.filter((_, j) => j !== i)
    for (const changed of [null, item.replace(/=.*/, '='), item.replace(/=.*/, ''), item.toLowerCase(), `x${item}`, `${item},${item}`, '']) {
      t.equal(refusal(() => parseAuthorization([...others, ...(changed === null ? [] : [changed])].join(','), [])).code, 'AuthorizationHeaderMalformed')
    }
  }
  t.end()
})

await t.test('names of signed headers', (t) => {
  t.same(parseSignedHeaders('x-b;Host;x-a', malformedHeader), ['host', 'x-a', 'x-b'])
  for (const text of ['', ';host', 'host;', 'host;;a', 'host a', 'host\n', 'a;b', 'host;b;B', 'hosts', 'host;\u00e4']) {
    t.equal(refusal(() => parseSignedHeaders(text, malformedHeader)).code, 'AuthorizationHeaderMalformed', JSON.stringify(text))
  }
  t.end()
})

await t.test('what x-amz-content-sha256 may say', (t) => {
  const hash = '0123456789abcdef'.repeat(4)
  t.same(parseContentSha256(hash), { kind: 'hash', text: hash })
  const legal = [
    'UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER, ',
    'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD, STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER'
  ].join('')
  const streaming = (text: string, signed: boolean, trailer: boolean) => ({ kind: 'streaming', text, signed, trailer })
  for (
    const expected of [
      { kind: 'unsigned', text: 'UNSIGNED-PAYLOAD' },
      streaming('STREAMING-UNSIGNED-PAYLOAD-TRAILER', false, true),
      streaming('STREAMING-AWS4-HMAC-SHA256-PAYLOAD', true, false),
      streaming('STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER', true, true)
    ]
  ) t.same(parseContentSha256(expected.text), expected, expected.text)
  for (const text of ['STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD', 'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD-TRAILER']) {
    t.equal(refusal(() => parseContentSha256(text)).code, 'NotImplemented', text)
  }
  for (const text of ['', hash.slice(1), `${hash}0`, ` ${hash}`, `${hash}\n`, hash.toUpperCase(), 'unsigned-payload', 'toString', '__proto__']) {
    const { code, fields, message } = refusal(() => parseContentSha256(text))
    t.same([code, fields], ['InvalidArgument', { ArgumentName: 'x-amz-content-sha256', ArgumentValue: text }], JSON.stringify(text))
    t.equal(message, `x-amz-content-sha256 must be ${legal} or a valid sha256 value.`)
  }
  t.equal(refusal(() => parseContentSha256('x'.repeat(200))).fields['ArgumentValue'], 'x'.repeat(128), 'bounded')
  t.end()
})

await t.test('which parameters look like a presigned query', (t) => {
  for (const name of ['Algorithm', 'Credential', 'Date', 'Expires', 'SignedHeaders', 'Signature']) {
    t.ok(hasPresignedCredential(parseQuery(`a&x-amz-${name}=1`)), name)
    t.notOk(hasPresignedCredential(parseQuery(`xx-amz-${name}=1&X-Amz-${name}x=1`)), `inside another name: ${name}`)
    t.ok(isPresignParameter(`x-amz-${name.toLowerCase()}`), name)
  }
  for (const name of ['x-amz-security-token', 'x-amz-content-sha256']) {
    t.notOk(hasPresignedCredential(parseQuery(`${name}=1`)), name)
    t.ok(isPresignParameter(name), name)
  }
  t.notOk(isPresignParameter('x-amz-acl'))
  t.end()
})
