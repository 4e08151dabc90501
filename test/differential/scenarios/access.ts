import type { Scenario } from '../run.ts'
import type { Role, Step } from '../side.ts'
import { ask, copy, get, head, list, put, remove, set } from './steps.ts'

const everyone: readonly Role[] = ['main', 'alt', 'tenant', 'anonymous']
const acls = ['private', 'public-read', 'public-read-write', 'authenticated-read', 'bucket-owner-read', 'bucket-owner-full-control']
const altId = '56789abcdef0123456789abcdef0123456789abcdef0123456789abcdef01234'

function tryAll(as: Role): Step[] {
  return [
    list([], { as }),
    list([['list-type', '2']], { as }),
    list([['versions', null]], { as }),
    head('k', { as }),
    get('k', { as }),
    get('k', { as, headers: [['range', 'bytes=0-1']] }),
    get('k', { as, query: [['response-content-type', 'foo/bar']] }),
    ask('acl', { as }),
    ask('acl', { as, key: 'k' }),
    ask('tagging', { as, key: 'k' }),
    { method: 'HEAD', bucket: 'a', as },
    get('missing', { as }),
    head('missing', { as })
  ]
}

function tryWrites(as: Role): Step[] {
  return [
    put('w', 'new', { as }),
    put('k', 'over', { as }),
    ask('acl', { key: 'w' }),
    remove('w', { as }),
    remove('k', { as }),
    put('k', 'again'),
    set('acl', '', { as, key: 'k', headers: [['x-amz-acl', 'private']] })
  ]
}

const grant = (id: string, permission: string, type = 'CanonicalUser'): string =>
  type === 'CanonicalUser'
    ? `<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"><ID>${id}</ID></Grantee><Permission>${permission}</Permission></Grant>`
    : type === 'Group' ?
    `<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="Group"><URI>${id}</URI></Grantee><Permission>${permission}</Permission></Grant>`
    : `<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="AmazonCustomerByEmail"><EmailAddress>${id}</EmailAddress></Grantee><Permission>${permission}</Permission></Grant>`
const aclDocument = (owner: string, grants: string): string =>
  `<AccessControlPolicy xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Owner><ID>${owner}</ID></Owner><AccessControlList>${grants}</AccessControlList></AccessControlPolicy>`

export const access: readonly Scenario[] = [
  ...acls.map((acl): Scenario => ({
    name: `access bucket ${acl}`,
    buckets: ['a'],
    steps: [
      put('k', 'secret'),
      set('acl', '', { headers: [['x-amz-acl', acl]] }),
      ask('acl'),
      ...everyone.flatMap(tryAll),
      ...(['alt', 'anonymous'] as const).flatMap(tryWrites)
    ]
  })),
  ...acls.map((acl): Scenario => ({
    name: `access object ${acl}`,
    buckets: ['a'],
    steps: [
      put('k', 'secret', { headers: [['x-amz-acl', acl]] }),
      ask('acl', { key: 'k' }),
      ...everyone.flatMap(tryAll),
      ...(['alt', 'anonymous'] as const).flatMap(tryWrites)
    ]
  })),
  {
    name: 'access grants',
    buckets: ['a'],
    steps: [
      put('k'),
      ask('acl', { save: { owner: 'ID' } }),
      ...['READ', 'WRITE', 'READ_ACP', 'WRITE_ACP', 'FULL_CONTROL'].flatMap((permission) => [
        set('acl', aclDocument('{owner}', grant('{owner}', 'FULL_CONTROL') + grant(altId, permission))),
        ask('acl'),
        list([], { as: 'alt' }),
        put('w', 'x', { as: 'alt' }),
        ask('acl', { as: 'alt' }),
        set('acl', '', { as: 'alt', headers: [['x-amz-acl', 'private']] }),
        set('acl', aclDocument('{owner}', grant('{owner}', 'FULL_CONTROL') + grant(altId, permission)), { key: 'k' }),
        ask('acl', { key: 'k' }),
        get('k', { as: 'alt' }),
        ask('acl', { key: 'k', as: 'alt' })
      ]),
      set('acl', aclDocument('{owner}', grant('http://acs.amazonaws.com/groups/global/AllUsers', 'READ', 'Group')), { key: 'k' }),
      ask('acl', { key: 'k' }),
      get('k', { as: 'anonymous' }),
      set('acl', aclDocument('{owner}', grant('http://acs.amazonaws.com/groups/global/AuthenticatedUsers', 'READ', 'Group'))),
      list([], { as: 'alt' }),
      list([], { as: 'anonymous' }),
      set('acl', aclDocument('{owner}', grant('john.doe@example.com', 'READ', 'AmazonCustomerByEmail'))),
      ask('acl'),
      set('acl', aclDocument('{owner}', grant('nobody@nowhere', 'READ', 'AmazonCustomerByEmail'))),
      set('acl', aclDocument('{owner}', grant('nobody', 'READ'))),
      set('acl', aclDocument('nobody', grant('{owner}', 'READ'))),
      set('acl', 'nonsense'),
      set('acl', ''),
      put('g', 'x', { headers: [['x-amz-grant-read', `id=${altId}`], ['x-amz-grant-write-acp', `id="${altId}"`]] }),
      ask('acl', { key: 'g' }),
      get('g', { as: 'alt' }),
      { method: 'PUT', bucket: 'g', headers: [['x-amz-grant-full-control', `id=${altId}`]] },
      ask('acl', { bucket: 'g' }),
      put('e', 'x', { headers: [['x-amz-grant-read', 'emailAddress=john.doe@example.com']] }),
      ask('acl', { key: 'e' }),
      copy('{bucket:a}/k', 'kc', [['x-amz-grant-read', `id=${altId}`]]),
      ask('acl', { key: 'kc' }),
      put('p', 'x', { headers: [['x-amz-acl', 'private'], ['x-amz-grant-read', `id=${altId}`]] })
    ]
  },
  {
    name: 'access policy',
    buckets: ['a'],
    steps: [
      put('k'),
      ask('policy'),
      set(
        'policy',
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"s3:ListBucket","Resource":["arn:aws:s3:::{bucket:a}","arn:aws:s3:::{bucket:a}/*"]}]}'
      ),
      ask('policy'),
      ask('policyStatus'),
      ...everyone.flatMap(tryAll),
      set('policy', '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{bucket:a}/*"}]}'),
      ...everyone.flatMap(tryAll),
      set('policy', 'nonsense'),
      set('policy', '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::{bucket:a}/*"}]}'),
      put('k', 'denied'),
      { method: 'DELETE', bucket: 'a', query: [['policy', null]] },
      ask('policy'),
      set(
        'publicAccessBlock',
        '<PublicAccessBlockConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>false</IgnorePublicAcls><BlockPublicPolicy>true</BlockPublicPolicy><RestrictPublicBuckets>false</RestrictPublicBuckets></PublicAccessBlockConfiguration>'
      ),
      ask('publicAccessBlock'),
      put('x', 'x', { headers: [['x-amz-acl', 'public-read']] }),
      set('acl', '', { headers: [['x-amz-acl', 'public-read']] }),
      set('policy', '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::{bucket:a}/*"}]}'),
      { method: 'DELETE', bucket: 'a', query: [['publicAccessBlock', null]] },
      ask('publicAccessBlock')
    ]
  }
]
