// A document that two readers could read differently must not name the bucket that the store writes to.
import t from 'tap'
import { clientDocument } from '../../src/s3/documents.ts'
import { type TargetOperation, targetBucketsOf } from '../../src/s3/bucket-settings.ts'
import { parseXml } from '../../src/s3/xml.ts'
import { errorCode } from '../support/error-code.ts'

const limits = clientDocument(65_536)
const read = (operation: TargetOperation, xml: string): readonly string[] => targetBucketsOf(operation, parseXml(Buffer.from(xml), limits))

const logging = (inner: string): string =>
  `<BucketLoggingStatus xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LoggingEnabled>${inner}<TargetPrefix>p</TargetPrefix></LoggingEnabled></BucketLoggingStatus>`
const replication = (bucket: string, role = '<Role>arn:aws:iam::123456789012:role/x</Role>'): string =>
  `<ReplicationConfiguration>${role}<Rule><Status>Enabled</Status>` +
  `<Destination>${bucket}<StorageClass>STANDARD</StorageClass></Destination></Rule></ReplicationConfiguration>`
const inventory = (bucket: string): string =>
  `<InventoryConfiguration><Id>i</Id><Destination><S3BucketDestination><Format>CSV</Format>${bucket}</S3BucketDestination></Destination></InventoryConfiguration>`
const analytics = (bucket: string): string =>
  `<AnalyticsConfiguration><Id>i</Id><StorageClassAnalysis><DataExport><OutputSchemaVersion>V_1</OutputSchemaVersion><Destination>` +
  `<S3BucketDestination>${bucket}</S3BucketDestination></Destination></DataExport></StorageClassAnalysis></AnalyticsConfiguration>`
const notification = (inner: string): string => `<NotificationConfiguration>${inner}</NotificationConfiguration>`

await t.test('documents as AWS, Ceph and MinIO write them', async (t) => {
  const good: [TargetOperation, string, readonly string[]][] = [
    ['PutBucketLogging', logging('<TargetBucket>logs</TargetBucket>'), ['logs']],
    ['PutBucketLogging', '<BucketLoggingStatus/>', []],
    ['PutBucketReplication', replication('<Bucket>arn:aws:s3:::copy-1</Bucket>'), ['copy-1']],
    ['PutBucketReplication', replication('<Bucket>arn:aws-us-gov:s3:::copy</Bucket>'), ['copy']],
    ['PutBucketReplication', replication('<Bucket>copy.eu</Bucket>', ''), ['copy.eu']],
    ['PutBucketReplication', replication('<Bucket>arn:aws:s3:::one</Bucket>', '<Role></Role>'), ['one']],
    ['PutBucketReplication', replication('<Bucket>arn:minio:replication::c7b0c1d2-1234:copy</Bucket>', '<Role/>'), ['copy']],
    ['PutBucketReplication', replication('<Bucket>arn:aws:s3:::one</Bucket>', '<Role>arn:minio:replication:us-east-1:c7b0:two</Role>'), ['two', 'one']],
    [
      'PutBucketReplication',
      '<ReplicationConfiguration><Rule><Destination><Bucket>one</Bucket></Destination></Rule><Rule><Destination><Bucket>two</Bucket></Destination></Rule></ReplicationConfiguration>',
      ['one', 'two']
    ],
    ['PutBucketInventoryConfiguration', inventory('<Bucket>arn:aws:s3:::reports</Bucket>'), ['reports']],
    ['PutBucketAnalyticsConfiguration', analytics('<BucketAccountId>1</BucketAccountId><Bucket>arn:aws:s3:::reports</Bucket><Prefix>p</Prefix>'), ['reports']],
    [
      'PutBucketMetricsConfiguration',
      '<MetricsConfiguration><Id>m</Id><Filter><And><Prefix>p</Prefix><AccessPointArn>arn:aws:s3:eu-west-1:123456789012:accesspoint/ap</AccessPointArn></And></Filter></MetricsConfiguration>',
      []
    ],
    ['PutBucketNotificationConfiguration', notification('<TopicConfiguration><Topic>arn:aws:sns:default::topic</Topic></TopicConfiguration>'), []],
    [
      'PutBucketNotificationConfiguration',
      notification('<QueueConfiguration><Queue>arn:minio:sqs::1:webhook</Queue></QueueConfiguration><EventBridgeConfiguration/>'),
      []
    ]
  ]
  for (const [operation, xml, buckets] of good) t.same(read(operation, xml), buckets, xml)
})

/** All of them put `mine` where a careless reader looks, or hide `theirs` from it. */
const texts = [
  'theirs:mine',
  'theirs/x:mine',
  'tenant:mine',
  ':mine',
  'arn:aws:s3:::theirs:mine',
  'arn:aws:s3:::theirs/x:mine',
  'arn:aws:s3:::theirs?x:mine',
  'arn:aws:s3:::mine/prefix',
  'arn:aws:s3:::mine/*',
  'arn:aws:s3:::',
  'arn:aws:s3:::.mine',
  'arn:aws:s3:eu-west-1:123456789012:mine',
  'arn:aws:s3:eu-west-1:123456789012:accesspoint/mine',
  'arn:aws:s3-outposts:eu:1:outpost/o/bucket/mine',
  'arn:aws:s3express:::mine',
  'arn:aws:S3:::mine',
  'ARN:aws:s3:::mine',
  'arn:aws:s3:::arn:aws:s3:::mine',
  'arn::s3:::mine',
  'arn:minio:s3:::mine',
  'arn:ceph:s3:::mine',
  'x-arn:aws:s3:::mine',
  'arn:aws:s3::::mine',
  ' mine',
  'mine ',
  '\nmine',
  'mine\n',
  'arn:aws:s3:::theirs\narn:aws:s3:::mine',
  'mi ne',
  'm&#105;ne',
  '&#109;ine',
  'theirs&#58;mine',
  '<!-- theirs -->mine',
  'mine<!-- x -->',
  '<![CDATA[theirs]]>mine',
  '<![CDATA[mine]]>',
  '<?x theirs?>mine',
  '<Name>theirs</Name>',
  '<Name>theirs</Name>mine',
  'https://theirs/mine',
  's3://mine',
  'mine,theirs',
  'mine;theirs',
  'mi..ne',
  '10.0.0.1',
  'm',
  'mïne',
  'minio',
  '',
  'a'.repeat(64)
]
const tags = (name: string): string[] => [
  `<${name} x="theirs">mine</${name}>`,
  `<a:${name} xmlns:a="urn:x">mine</a:${name}>`,
  `<${name}>mine</${name}><${name}>theirs</${name}>`,
  `<${name}>theirs</${name}><${name}>mine</${name}>`,
  `<${name.toLowerCase()}>mine</${name.toLowerCase()}>`,
  `<${name.toUpperCase()}>mine</${name.toUpperCase()}>`,
  `<${name}>mine</${name}><${name.toLowerCase()}>theirs</${name.toLowerCase()}>`,
  `<${name} >mine</${name}>`,
  `<${name}>mine</${name} >`,
  `<More><${name}>theirs</${name}></More><${name}>mine</${name}>`,
  `<Deep><${name}>mine</${name}></Deep>`,
  `<${name}/>`
]

await t.test('what can be read in two ways, or is no name that AWS documents, is refused', async (t) => {
  const forms: [TargetOperation, string, (element: string) => string][] = [
    ['PutBucketLogging', 'TargetBucket', logging],
    ['PutBucketReplication', 'Bucket', replication],
    ['PutBucketInventoryConfiguration', 'Bucket', inventory],
    ['PutBucketAnalyticsConfiguration', 'Bucket', analytics]
  ]
  let refused = 0
  for (const [operation, name, wrap] of forms) {
    for (const element of [...texts.map((text) => `<${name}>${text}</${name}>`), ...tags(name)]) {
      t.match(errorCode(() => read(operation, wrap(element))), /^(MalformedXML|InvalidBucketName)$/, `${operation}: ${element}`)
      refused += 1
    }
  }
  const others: [TargetOperation, string][] = [
    ['PutBucketLogging', logging('<TargetBucket>arn:aws:s3:::mine</TargetBucket>')],
    ['PutBucketLogging', logging('<Bucket>theirs</Bucket><TargetBucket>mine</TargetBucket>')],
    ['PutBucketLogging', '<BucketLoggingStatus><TargetBucket>mine</TargetBucket></BucketLoggingStatus>'],
    ['PutBucketLogging', '<Other><LoggingEnabled><TargetBucket>mine</TargetBucket></LoggingEnabled></Other>'],
    ['PutBucketReplication', replication('<TargetBucket>theirs</TargetBucket>')],
    ['PutBucketReplication', '<ReplicationConfiguration><Bucket>theirs</Bucket></ReplicationConfiguration>'],
    ['PutBucketReplication', replication('<Bucket>mine</Bucket>', '<Role>arn:aws:s3:::theirs</Role>')],
    ['PutBucketReplication', replication('<Bucket>mine</Bucket>', '<Role>theirs</Role>')],
    ['PutBucketReplication', replication('<Bucket>arn:minio:replication::id:theirs:mine</Bucket>')],
    ['PutBucketReplication', replication('<Bucket>arn:minio:replication:::mine</Bucket>')],
    ['PutBucketMetricsConfiguration', '<MetricsConfiguration><Filter><AccessPointArn>arn:aws:s3:::theirs</AccessPointArn></Filter></MetricsConfiguration>'],
    ['PutBucketMetricsConfiguration', '<MetricsConfiguration><Destination><Bucket>theirs</Bucket></Destination></MetricsConfiguration>'],
    ['PutBucketNotificationConfiguration', notification('<TopicConfiguration><Topic>arn:aws:s3:::theirs</Topic></TopicConfiguration>')],
    ['PutBucketNotificationConfiguration', notification('<TopicConfiguration><Topic>theirs</Topic></TopicConfiguration>')],
    ['PutBucketNotificationConfiguration', notification('<BucketConfiguration><Bucket>theirs</Bucket></BucketConfiguration>')],
    ['PutBucketInventoryConfiguration', '<InventoryConfiguration><Destination><Bucket>mine</Bucket></Destination></InventoryConfiguration>']
  ]
  for (const [operation, xml] of others) t.match(errorCode(() => read(operation, xml)), /^(MalformedXML|InvalidBucketName)$/, xml)
  t.comment(`${refused + others.length} ambiguous documents, 0 accepted`)
})
