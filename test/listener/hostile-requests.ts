/** What must become of a request. */
type Fate =
  /** The handler is not called, and the connection closes. */
  | 'refused'
  /** The handler is called, its body fails, and the connection closes. */
  | 'broken'
  /** It is served, and the connection goes on in step. */
  | 'served'

export interface Hostile {
  readonly name: string
  readonly bytes: string
  readonly fate: Fate
}

const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n'
const head = (lines: readonly string[], method = 'PUT', target = '/attack', version = 'HTTP/1.1'): string =>
  `${method} ${target} ${version}\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`

const named = (group: string, fate: Fate, rows: readonly (readonly [label: string, bytes: string])[]): Hostile[] =>
  rows.map(([label, bytes]) => ({ name: `${group}: ${label}`, bytes, fate }))

/** Spellings of Transfer-Encoding that some parsers read as chunked and others do not. */
const codings = [
  'Transfer-Encoding: xchunked',
  'Transfer-Encoding : chunked',
  'Transfer-Encoding\t: chunked',
  ' Transfer-Encoding: chunked',
  'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding: gzip, chunked',
  'Transfer-Encoding: identity',
  'Transfer-Encoding: chunked;q=1',
  'Transfer-Encoding: "chunked"',
  'Transfer-Encoding: \x0bchunked',
  'Transfer-Encoding: chunked\x0b',
  'Transfer-Encoding: \x00chunked',
  'Transfer-Encoding: cow',
  'Transfer-Encoding: chunk',
  'Transfer-Encoding: chunked,',
  'Transfer-Encoding: ,chunked',
  'Transfer-Encoding: Chunked',
  'Transfer-Encoding: CHUNKED',
  'Transfer-Encoding:',
  'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked',
  'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked',
  'Transfer-Encoding: chunked\r\nTransfer-Encoding: cow',
  'X: y\rTransfer-Encoding: chunked',
  'X: y\nTransfer-Encoding: chunked',
  'Transfer-Encoding:\r\n chunked',
  'Transfer_Encoding: chunked',
  'Transfer-Encoding: chunked\r\nContent-Length: 0',
  'Transfer-Encoding: chunked\r\nContent-Length: 5',
  'Content-Length: 5\r\nTransfer-Encoding: chunked',
  'transfer-encoding: deflate',
  'Transfer-Encoding: chunked\r\ntransfer_encoding: chunked',
  'Transfer-Encoding: trailers, chunked',
  'Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked'
]

const lengths = [
  '+0',
  '-0',
  '-1',
  '+36',
  '0x24',
  '036',
  '0000000',
  '36, 36',
  '36,37',
  '3 6',
  '36 ',
  '',
  'abc',
  '36abc',
  '1e1',
  '9007199254740993',
  '18446744073709551617',
  '99999999999999999999999',
  '٣٦',
  '36;',
  '3_6',
  '36.0'
].filter((value) => value !== '36 ')

const singleFields = [
  'Host',
  'Authorization',
  'Content-Type',
  'Content-MD5',
  'Range',
  'Date',
  'X-Amz-Date',
  'x-amz-content-sha256',
  'X-Amz-Security-Token',
  'If-Match',
  'If-None-Match',
  'If-Modified-Since',
  'If-Unmodified-Since',
  'x-amz-copy-source',
  'x-amz-copy-source-range',
  'x-amz-tagging',
  'x-amz-decoded-content-length',
  'x-amz-server-side-encryption',
  'x-amz-server-side-encryption-customer-key',
  'x-amz-acl',
  'x-amz-trailer',
  'x-amz-checksum-crc32',
  'Expect',
  'X-Forwarded-Proto',
  'Content-Disposition'
]

const badTargets = [
  'http://other/attack',
  'http://h:81/attack',
  'http://h.other/attack',
  'http://user@h/attack',
  'http://h@other/attack',
  'http:/h/attack',
  'http:///attack',
  'http:h/attack',
  'ftp://h/attack',
  'ws://h/attack',
  'http://h\\/attack',
  'http://h/attack#f',
  'http://h:port/attack',
  'http://?h/attack',
  'h:80',
  '*',
  'attack',
  '/attack#fragment',
  '/attack?x=1#f',
  '/att ack',
  '/att\tack',
  '/att\x00ack',
  '/att\x7fack',
  '/att\xe9ack',
  '//h@\x01/attack',
  '?attack',
  '',
  '/attack?x=%zz',
  '/attack?%',
  '/attack?x=%ff',
  '\\attack'
]

/** Targets in absolute form (RFC 9112 3.2.2), and the Host header that goes with them. */
const absoluteForms = [
  ['http://h/attack', 'h'],
  ['HTTP://H/attack', 'h'],
  ['https://h/attack?x=1', 'h'],
  ['http://h:80/attack', 'h'],
  ['https://h/attack', 'h:443'],
  ['http://h:9000/attack', 'h:9000'],
  ['http://[::1]:9000/attack', '[::1]:9000']
] as const

const badHosts = ['', ' ', 'a b', 'a,b', 'a/b', 'user@h', 'h:port', 'h:123456', 'h?x', 'h#x', '[::1', 'a\x80b', 'h\\x', '[zz]']
const underscored = [
  'Content_Length: 40',
  'HOST_: x\r\nX_Amz_Date: 1',
  'Content-_Type: x\r\nx_amz_acl: public-read',
  'Authorization_: a\r\nx-amz_date: 1',
  '__proto__: x',
  'Content_Type: a',
  'if_match: *',
  'x_forwarded_proto: https'
]
const chunkLines = [
  '0x5\r\nhello\r\n0\r\n\r\n',
  '+5\r\nhello\r\n0\r\n\r\n',
  '-5\r\nhello\r\n0\r\n\r\n',
  ' 5\r\nhello\r\n0\r\n\r\n',
  '5 \r\nhello\r\n0\r\n\r\n',
  '5\nhello\r\n0\r\n\r\n',
  '5\r\nhelloX\r\n0\r\n\r\n',
  '5\r\nhelloXX0\r\n\r\n',
  'g\r\nhello\r\n0\r\n\r\n',
  '\r\nhello\r\n0\r\n\r\n',
  '5\rhello\r\n0\r\n\r\n',
  '10000000000000000\r\nhello\r\n0\r\n\r\n',
  'fffffffffffffffff\r\nhello\r\n0\r\n\r\n',
  '5\r\nhello\n0\r\n\r\n',
  '5\r\nhello\r0\r\n\r\n',
  '5_0\r\nhello\r\n0\r\n\r\n',
  '5,5\r\nhello\r\n0\r\n\r\n',
  '\x005\r\nhello\r\n0\r\n\r\n',
  '5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n',
  '5\r\nhello\r\n0\r\nTransfer-Encoding: x\r\n y\r\n\r\n',
  '5\r\nhello\r\n0\r\nbad trailer: x\r\n\r\n',
  `5;${'a'.repeat(20_000)}\r\nhello\r\n0\r\n\r\n`
]

/** Raw requests, each with one fault, and controls that must pass. */
export const hostileRequests: readonly Hostile[] = [
  ...named('coding', 'refused', codings.map((line) => [JSON.stringify(line), `${head(['Host: h', line])}0\r\n\r\n${smuggled}`])),
  ...named(
    'coding with length',
    'refused',
    codings.map((line) => [JSON.stringify(line), `${head(['Host: h', 'Content-Length: 41', line])}0\r\n\r\n${smuggled}`])
  ),
  ...named('length', 'refused', lengths.map((value) => [JSON.stringify(value), `${head(['Host: h', `Content-Length: ${value}`])}${smuggled}`])),
  ...named(
    'two lengths',
    'refused',
    [['same', '36'], ['other', '5']].map((
      [label = '', second = '']
    ) => [label, `${head(['Host: h', 'Content-Length: 36', `Content-Length: ${second}`])}${smuggled}`])
  ),
  ...named(
    'repeated',
    'refused',
    singleFields.map((field) => [field, head([...(field === 'Host' ? [] : ['Host: h']), `${field}: 1`, 'X-Between: 1', `${field.toUpperCase()}: 2`])])
  ),
  ...named('target', 'refused', badTargets.map((target) => [JSON.stringify(target), head(['Host: h'], 'GET', target)])),
  ...named('host', 'refused', badHosts.map((value) => [JSON.stringify(value), head([`Host: ${value}`], 'GET')])),
  ...named('no host', 'refused', [['1.1', head(['X: y'], 'GET')], ['1.0', head(['X: y'], 'GET', '/attack', 'HTTP/1.0')]]),
  ...named('name', 'refused', underscored.map((line) => [line, head(['Host: h', line], 'GET')])),
  ...named(
    'method',
    'refused',
    ['TRACE', 'CONNECT', 'PATCH', 'PROPFIND', 'get', 'GETT', 'PRI', 'LOCK', 'SOURCE'].map((method) => [method, head(['Host: h'], method)])
  ),
  ...named(
    'version',
    'refused',
    ['HTTP/0.9', 'HTTP/1.2', 'HTTP/2.0', 'HTTP/1.1 ', 'http/1.1', 'HTTP/1,1', 'HTP/1.1', ''].map((
      version
    ) => [JSON.stringify(version), head(['Host: h'], 'GET', '/attack', version)])
  ),
  ...named('1.0 with coding', 'refused', [['chunked', `${head(['Host: h', 'Transfer-Encoding: chunked'], 'PUT', '/attack', 'HTTP/1.0')}0\r\n\r\n${smuggled}`]]),
  ...named('body of', 'refused', [
    ['GET', `${head(['Host: h', 'Content-Length: 36'], 'GET')}${smuggled}`],
    ['HEAD', `${head(['Host: h', 'Content-Length: 36'], 'HEAD')}${smuggled}`],
    ['OPTIONS', `${head(['Host: h', 'Content-Length: 36'], 'OPTIONS')}${smuggled}`],
    ['GET chunked', `${head(['Host: h', 'Transfer-Encoding: chunked'], 'GET')}0\r\n\r\n`]
  ]),
  ...named('upgrade', 'refused', [
    ['h2c', head(['Host: h', 'Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA'], 'GET')],
    ['websocket', head(['Host: h', 'Connection: Upgrade', 'Upgrade: websocket'], 'GET')],
    ['header alone', head(['Host: h', 'Upgrade: x'], 'GET')]
  ]),
  ...named(
    'expectation',
    'refused',
    ['y 100-continue', '100-continue, x', '100-continue;'].map((value) => [value, `${head(['Host: h', `Expect: ${value}`, 'Content-Length: 5'])}hello`])
  ),
  ...named(
    'connection names',
    'refused',
    ['Authorization', 'close, x-amz-date', 'Host', 'Content-Length', 'X-Forwarded-Proto'].map((
      token
    ) => [token, head(['Host: h', `Connection: ${token}`], 'GET')])
  ),
  ...named('lines', 'refused', [
    ['folded', head(['Host: h', 'X: a\r\n b'], 'GET')],
    ['bare LF', head(['Host: h\nX: y'], 'GET')],
    ['bare CR', head(['Host: h\rX: y'], 'GET')],
    ['NUL in value', head(['Host: h', 'X: a\x00b'], 'GET')],
    ['space in name', head(['Host: h', 'X Y: z'], 'GET')],
    ['no colon', head(['Host: h', 'nothing'], 'GET')],
    ['empty name', head(['Host: h', ': x'], 'GET')],
    ['257 lines', head(['Host: h', ...Array.from({ length: 256 }, (_, i) => `X-${i}: y`)], 'GET')],
    ['20 KiB', head(['Host: h', `X: ${'a'.repeat(20_000)}`], 'GET')],
    ['binary', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaaaaaaaaaaaaaa\r\n\r\n'],
    ['h2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n']
  ]),
  ...named('chunk', 'broken', chunkLines.map((body) => [JSON.stringify(body.slice(0, 40)), `${head(['Host: h', 'Transfer-Encoding: chunked'])}${body}`])),
  ...named('control', 'served', [
    ['plain', head(['Host: h'], 'GET')],
    ['length', `${head(['Host: h', 'Content-Length: 5'])}hello`],
    ['zero', head(['Host: h', 'Content-Length: 0'])],
    ['chunked', `${head(['Host: h', 'Transfer-Encoding: chunked'])}5\r\nhello\r\n0\r\n\r\n`],
    ['chunk extension', `${head(['Host: h', 'Transfer-Encoding: chunked'])}5;a=b\r\nhello\r\n0\r\n\r\n`],
    ['odd expectation', `${head(['Host: h', 'Expect: 200', 'Content-Length: 5'])}hello`],
    ['empty expectation', `${head(['Host: h', 'Expect:', 'Content-Length: 5'])}hello`],
    ['metadata repeated', head(['Host: h', 'x-amz-meta-a_b: 1', 'x-amz-meta-a_b: 2'], 'GET')],
    ['attributes repeated', head(['Host: h', 'x-amz-object-attributes: ETag', 'x-amz-object-attributes: ObjectSize'], 'GET')],
    ['empty content type', `${head(['Host: h', 'Content-Type:', 'Content-Length: 5'])}hello`],
    ['odd content type', `${head(['Host: h', 'Content-Type: a;;b', 'Content-Length: 5'])}hello`],
    ['GET length 0', head(['Host: h', 'Content-Length: 0'], 'GET')],
    ['IPv6 host', head(['Host: [::1]:9000'], 'GET')],
    ...absoluteForms.map(([target, host]): readonly [string, string] => [`absolute ${target}`, head([`Host: ${host}`], 'GET', target)]),
    ['raw metadata', head(['Host: h', 'x-amz-meta-u: \xc3\xa9'], 'GET')]
  ])
]
