import t from 'tap'
import { grantsAsHeaders } from '../../src/store-client/object-properties.ts'

const ALL = 'http://acs.amazonaws.com/groups/global/AllUsers'
const of = (owner: string, ...grants: readonly (readonly [grantee: string, permission: string])[]) =>
  grantsAsHeaders(Buffer.from(
    `<AccessControlPolicy xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Owner>${owner}</Owner><AccessControlList>${
      grants.map(([grantee, permission]) =>
        `<Grant><Grantee xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser">${grantee}</Grantee><Permission>${permission}</Permission></Grant>`
      ).join('')
    }</AccessControlList></AccessControlPolicy>`
  ))

await t.test('only the owner: nothing is to be written', async (t) => {
  const stores = {
    'S3': of('<ID>o</ID><DisplayName>owner</DisplayName>', ['<ID>o</ID><DisplayName>owner</DisplayName>', 'FULL_CONTROL']),
    'radosgw 16': of('<ID>bench</ID><DisplayName>Bench</DisplayName>', ['<ID>bench</ID><DisplayName>Bench</DisplayName>', 'FULL_CONTROL']),
    'MinIO, which names nobody': of('<ID></ID><DisplayName></DisplayName>', ['<Type>CanonicalUser</Type>', 'FULL_CONTROL']),
    'no grants': of('<ID>o</ID>')
  }
  for (const [label, headers] of Object.entries(stores)) t.same(headers, [], label)
})

await t.test('others: as a canned ACL, or grant by grant with the owner\'s', async (t) => {
  const [owner, mine] = ['<ID>o</ID>', ['<ID>o</ID>', 'FULL_CONTROL'] as const]
  t.same(of(owner, [`<URI>${ALL}</URI>`, 'READ'], mine), [['x-amz-acl', 'public-read']], 'as radosgw orders them')
  t.same(of(owner, mine, [`<URI>${ALL}</URI>`, 'READ'], [`<URI>${ALL}</URI>`, 'WRITE']), [['x-amz-acl', 'public-read-write']])
  t.same(of(owner, mine, ['<ID>x</ID>', 'READ'], ['<EmailAddress>a@example.org</EmailAddress>', 'READ']), [
    ['x-amz-grant-full-control', 'id="o"'],
    ['x-amz-grant-read', 'id="x", emailAddress="a@example.org"']
  ])
  t.same(of(owner, [`<URI>${ALL}</URI>`, 'READ']), [['x-amz-grant-read', `uri="${ALL}"`]], 'the owner has none: a canned ACL would give it back')
})

await t.test('grants that cannot be written again are not lost in silence', async (t) => {
  t.throws(() => of('<ID>o</ID>', ['<ID>o</ID>', 'FULL_CONTROL'], ['<Type>CanonicalUser</Type>', 'READ']), { code: 'SealgateBadUpstream' })
  t.throws(() => of('<ID></ID>', ['<Type>CanonicalUser</Type>', 'FULL_CONTROL'], ['<Type>CanonicalUser</Type>', 'READ']), { code: 'SealgateBadUpstream' })
  t.throws(() => of('<ID>o</ID>', ['<ID>x</ID>', 'DANCE']), { code: 'SealgateBadUpstream' })
})
