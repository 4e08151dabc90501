import type { Scenario } from '../run.ts'
import type { Step } from '../side.ts'
import { ask, drop, get, head, put, set } from './steps.ts'

const rule = (inside: string): string => `<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${inside}</LifecycleConfiguration>`
const cors = (rules: string): string => `<CORSConfiguration>${rules}</CORSConfiguration>`
const corsRules =
  '<CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*suffix</AllowedOrigin></CORSRule><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>start*end</AllowedOrigin></CORSRule><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>prefix*</AllowedOrigin></CORSRule><CORSRule><AllowedMethod>PUT</AllowedMethod><AllowedOrigin>*.put</AllowedOrigin><AllowedHeader>x-amz-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>300</MaxAgeSeconds></CORSRule>'
const origins = [
  null,
  'foo.suffix',
  'foo.bar',
  'foo.suffix.get',
  'startend',
  'start1end',
  'start12end',
  '0start12end',
  'prefix',
  'prefix.suffix',
  'bla.prefix',
  'foo.put',
  ''
]

function preflight(origin: string | null, method: string | null, headers: string | null): Step {
  const named = [['origin', origin], ['access-control-request-method', method], ['access-control-request-headers', headers]] as const
  return {
    method: 'OPTIONS',
    bucket: 'a',
    as: 'anonymous',
    headers: named.flatMap(([name, value]): [string, string][] => value === null ? [] : [[name, value]])
  }
}

export const settings: readonly Scenario[] = [
  {
    name: 'setting cors',
    buckets: ['a'],
    steps: [
      ask('cors'),
      preflight('foo.suffix', 'GET', null),
      set('cors', cors(corsRules)),
      ask('cors'),
      put('k', 'x', { headers: [['x-amz-acl', 'public-read']] }),
      ...origins.flatMap((origin) => [
        ...['GET', 'PUT', 'DELETE', 'HEAD'].map((method) => preflight(origin, method, null)),
        preflight(origin, null, null),
        preflight(origin, 'PUT', 'x-amz-meta-a'),
        preflight(origin, 'PUT', 'content-type'),
        preflight(origin, 'PUT', 'X-Amz-Date, x-amz-content-sha256'),
        ...origin === null
          ? []
          : ((
            headers: Step['headers'] = [['origin', origin]]
          ): Step[] => [
            get('k', { headers }),
            head('k', { headers }),
            put('k', 'x', { headers }),
            get('missing', { headers }),
            get('k', { as: 'anonymous', headers }),
            put('k', 'x', { headers: [['origin', origin], ['access-control-request-method', 'PUT']] }),
            { method: 'GET', bucket: 'a', headers }
          ])()
      ]),
      { ...preflight('foo.suffix', 'GET', null), key: 'k' },
      { ...preflight('foo.suffix', 'GET', null), bucket: 'missing' },
      set('cors', 'nonsense'),
      set('cors', cors('<CORSRule><AllowedMethod>NONSENSE</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule>')),
      set('cors', cors('')),
      set('cors', cors('<CORSRule><AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule>')),
      preflight('anything', 'GET', null),
      preflight('anything', 'PUT', 'x-foo'),
      get('k', { headers: [['origin', 'x']] }),
      drop('cors'),
      ask('cors'),
      preflight('anything', 'GET', null),
      drop('cors')
    ]
  },
  {
    name: 'setting lifecycle',
    buckets: ['a'],
    steps: [
      ask('lifecycle'),
      set(
        'lifecycle',
        rule(
          '<Rule><ID>r1</ID><Expiration><Days>1</Days></Expiration><Prefix>test1/</Prefix><Status>Enabled</Status></Rule><Rule><ID>r2</ID><Expiration><Days>2</Days></Expiration><Filter><Prefix>t2/</Prefix></Filter><Status>Disabled</Status></Rule>'
        )
      ),
      ask('lifecycle'),
      put('test1/x', 'x'),
      head('test1/x'),
      get('test1/x'),
      set(
        'lifecycle',
        rule(
          '<Rule><ID>size</ID><Expiration><Days>1</Days></Expiration><Filter><ObjectSizeGreaterThan>2000</ObjectSizeGreaterThan></Filter><Status>Enabled</Status></Rule>'
        )
      ),
      ask('lifecycle'),
      set(
        'lifecycle',
        rule(
          '<Rule><Expiration><Days>1</Days></Expiration><Filter><And><Prefix>a</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter><Status>Enabled</Status></Rule>'
        )
      ),
      set('lifecycle', rule('<Rule><ID>x</ID><Expiration><Days>0</Days></Expiration><Prefix>a</Prefix><Status>Enabled</Status></Rule>')),
      set('lifecycle', rule('<Rule><ID>x</ID><Expiration><Days>1</Days></Expiration><Prefix>a</Prefix><Status>enabled</Status></Rule>')),
      set('lifecycle', rule(`<Rule><ID>${'x'.repeat(256)}</ID><Expiration><Days>1</Days></Expiration><Prefix>a</Prefix><Status>Enabled</Status></Rule>`)),
      set(
        'lifecycle',
        rule(
          '<Rule><ID>x</ID><Expiration><Days>1</Days></Expiration><Prefix>a</Prefix><Status>Enabled</Status></Rule><Rule><ID>x</ID><Expiration><Days>1</Days></Expiration><Prefix>b</Prefix><Status>Enabled</Status></Rule>'
        )
      ),
      set('lifecycle', rule('<Rule><ID>d</ID><Expiration><Date>2040-09-27</Date></Expiration><Prefix>a</Prefix><Status>Enabled</Status></Rule>')),
      ask('lifecycle'),
      set('lifecycle', rule('<Rule><ID>d</ID><Expiration><Date>20200101</Date></Expiration><Prefix>a</Prefix><Status>Enabled</Status></Rule>')),
      set(
        'lifecycle',
        rule(
          '<Rule><ID>n</ID><NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays></NoncurrentVersionExpiration><Prefix>p</Prefix><Status>Enabled</Status></Rule>'
        )
      ),
      set(
        'lifecycle',
        rule(
          '<Rule><ID>m</ID><AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload><Prefix>p</Prefix><Status>Enabled</Status></Rule>'
        )
      ),
      ask('lifecycle'),
      set('lifecycle', 'nonsense'),
      set('lifecycle', ''),
      set('lifecycle', rule('<Rule><ID>r1</ID><Expiration><Days>1</Days></Expiration><Prefix>test1/</Prefix><Status>Enabled</Status></Rule>'), { bare: true }),
      drop('lifecycle'),
      ask('lifecycle'),
      drop('lifecycle'),
      ask('lifecycle', { as: 'alt' }),
      set('lifecycle', rule('<Rule><ID>r1</ID><Expiration><Days>1</Days></Expiration><Prefix>test1/</Prefix><Status>Enabled</Status></Rule>'), { as: 'alt' })
    ]
  },
  {
    name: 'setting tagging',
    buckets: ['a'],
    steps: [
      ask('tagging'),
      set('tagging', '<Tagging><TagSet><Tag><Key>Hello</Key><Value>World</Value></Tag></TagSet></Tagging>'),
      ask('tagging'),
      drop('tagging'),
      ask('tagging'),
      set('tagging', 'nonsense'),
      set('tagging', '<Tagging><TagSet></TagSet></Tagging>'),
      drop('tagging')
    ]
  },
  {
    name: 'setting others',
    buckets: ['a', 'b'],
    steps: [
      set('logging', '<BucketLoggingStatus xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></BucketLoggingStatus>'),
      ask('logging'),
      set(
        'website',
        '<WebsiteConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IndexDocument><Suffix>index.html</Suffix></IndexDocument></WebsiteConfiguration>'
      ),
      ask('website'),
      drop('website'),
      set('notification', '<NotificationConfiguration/>'),
      ask('notification'),
      set('accelerate', '<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>'),
      set('replication', '<ReplicationConfiguration/>'),
      drop('replication'),
      set('ownershipControls', '<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>'),
      drop('ownershipControls'),
      set('nonsense', '<x/>'),
      drop('nonsense'),
      { method: 'POST', bucket: 'a' },
      { method: 'POST', bucket: 'a', query: [['nonsense', null]] },
      { method: 'DELETE', path: '/' },
      { method: 'PUT', path: '/' },
      { method: 'POST', path: '/' },
      { method: 'HEAD', path: '/' }
    ]
  },
  {
    name: 'setting encryption',
    buckets: ['a'],
    steps: [
      ask('encryption'),
      drop('encryption'),
      drop('encryption'),
      set(
        'encryption',
        '<ServerSideEncryptionConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>'
      ),
      ask('encryption'),
      put('k', 'hello'),
      head('k'),
      get('k'),
      drop('encryption'),
      ask('encryption'),
      put('k', 'hello'),
      head('k'),
      set(
        'encryption',
        '<ServerSideEncryptionConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>testkey-1</KMSMasterKeyID></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>'
      ),
      ask('encryption'),
      put('k', 'hello'),
      head('k'),
      get('k'),
      set('encryption', 'nonsense'),
      set('encryption', '<ServerSideEncryptionConfiguration/>'),
      ask('encryption', { as: 'alt' }),
      drop('encryption', { as: 'alt' })
    ]
  }
]
