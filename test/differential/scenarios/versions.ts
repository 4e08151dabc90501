import type { Scenario } from '../run.ts'
import { ask, copy, get, head, list, put, remove, set } from './steps.ts'

const enabled = '<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>'
const suspended = '<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Suspended</Status></VersioningConfiguration>'

export const versions: readonly Scenario[] = [
  {
    name: 'versions',
    buckets: ['a'],
    steps: [
      ask('versioning'),
      put('old', 'before'),
      set('versioning', enabled),
      ask('versioning'),
      put('k', 'one', { save: { v1: 'header:x-amz-version-id' } }),
      put('k', 'two two', { save: { v2: 'header:x-amz-version-id' }, headers: [['x-amz-meta-a', 'b']] }),
      get('k'),
      head('k'),
      get('k', { query: [['versionId', '{v1}']] }),
      head('k', { query: [['versionId', '{v2}']] }),
      get('k', { query: [['versionId', '{v1}']], headers: [['range', 'bytes=0-1']] }),
      get('old'),
      get('old', { query: [['versionId', 'null']] }),
      list([['versions', null]]),
      list([['versions', null], ['max-keys', '1']]),
      list([['versions', null], ['prefix', 'k'], ['encoding-type', 'url']]),
      remove('k', { save: { m1: 'header:x-amz-version-id' } }),
      get('k'),
      head('k'),
      get('k', { query: [['versionId', '{m1}']] }),
      head('k', { query: [['versionId', '{m1}']] }),
      list(),
      list([['versions', null]]),
      get('k', { query: [['versionId', '{v1}']] }),
      remove('k', { query: [['versionId', '{m1}']] }),
      get('k'),
      remove('k', { query: [['versionId', '{v2}']] }),
      get('k'),
      ask('acl', { key: 'k', query: [['acl', null], ['versionId', '{v1}']] }),
      ask('tagging', { key: 'k', query: [['tagging', null], ['versionId', '{v1}']] }),
      set('tagging', '<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>', {
        key: 'k',
        query: [['tagging', null], ['versionId', '{v1}']]
      }),
      ask('tagging', { key: 'k', query: [['tagging', null], ['versionId', '{v1}']] }),
      copy('{bucket:a}/k?versionId={v1}', 'kc'),
      get('kc'),
      copy('{bucket:a}/k', 'k'),
      get('k'),
      copy('{bucket:a}/k?versionId={v1}', 'k'),
      get('k'),
      copy('{bucket:a}/k?versionId=nonsense', 'kd'),
      {
        method: 'POST',
        bucket: 'a',
        query: [['delete', null]],
        body: '<Delete><Object><Key>k</Key><VersionId>{v1}</VersionId></Object><Object><Key>kc</Key></Object></Delete>'
      },
      list([['versions', null]]),
      set('versioning', suspended),
      put('k', 'null one'),
      put('k', 'null two'),
      get('k', { query: [['versionId', 'null']] }),
      list([['versions', null]]),
      remove('k'),
      list([['versions', null]]),
      remove('k', { query: [['versionId', 'null']] }),
      list([['versions', null]]),
      remove('never', { query: [['versionId', 'null']] }),
      set('versioning', 'nonsense'),
      set('versioning', '<VersioningConfiguration><Status>Nonsense</Status></VersioningConfiguration>'),
      remove('k', { query: [['versionId', 'nonsense']] }),
      head('k', { query: [['versionId', 'nonsense']] }),
      remove('unknown')
    ]
  },
  {
    name: 'object lock',
    buckets: ['a'],
    locked: true,
    steps: [
      ask('object-lock'),
      ask('versioning'),
      set('versioning', suspended),
      set(
        'object-lock',
        '<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>'
      ),
      ask('object-lock'),
      set(
        'object-lock',
        '<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>0</Days></DefaultRetention></Rule></ObjectLockConfiguration>'
      ),
      set(
        'object-lock',
        '<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>governance</Mode><Years>1</Years></DefaultRetention></Rule></ObjectLockConfiguration>'
      ),
      set('object-lock', '<ObjectLockConfiguration><ObjectLockEnabled>Disabled</ObjectLockEnabled></ObjectLockConfiguration>'),
      set('object-lock', 'nonsense'),
      set(
        'object-lock',
        '<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years></DefaultRetention></Rule></ObjectLockConfiguration>'
      ),
      put('k', 'x', { save: { v1: 'header:x-amz-version-id' }, headers: [['content-md5', 'ndTkYSaMgDT1yFZOFVxnpg==']] }),
      head('k'),
      get('k'),
      ask('retention', { key: 'k' }),
      ask('legal-hold', { key: 'k' }),
      set('legal-hold', '<LegalHold><Status>ON</Status></LegalHold>', { key: 'k' }),
      ask('legal-hold', { key: 'k' }),
      head('k'),
      remove('k', { query: [['versionId', '{v1}']] }),
      set('legal-hold', '<LegalHold><Status>nonsense</Status></LegalHold>', { key: 'k' }),
      set('legal-hold', '<LegalHold><Status>OFF</Status></LegalHold>', { key: 'k' }),
      set('retention', '<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2040-01-01T00:00:00Z</RetainUntilDate></Retention>', { key: 'k' }),
      ask('retention', { key: 'k' }),
      ask('retention', { key: 'k', query: [['retention', null], ['versionId', '{v1}']] }),
      set('retention', '<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2039-01-01T00:00:00Z</RetainUntilDate></Retention>', { key: 'k' }),
      set('retention', '<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2039-01-01T00:00:00Z</RetainUntilDate></Retention>', {
        key: 'k',
        headers: [['x-amz-bypass-governance-retention', 'true']]
      }),
      set('retention', '<Retention><Mode>nonsense</Mode><RetainUntilDate>2039-01-01T00:00:00Z</RetainUntilDate></Retention>', { key: 'k' }),
      remove('k', { query: [['versionId', '{v1}']] }),
      remove('k', { query: [['versionId', '{v1}']], headers: [['x-amz-bypass-governance-retention', 'true']] }),
      set('retention', '<Retention></Retention>', { key: 'missing' }),
      put('u', 'x', {
        headers: [['x-amz-object-lock-mode', 'GOVERNANCE'], ['x-amz-object-lock-retain-until-date', '2040-01-01T00:00:00Z'], [
          'x-amz-object-lock-legal-hold',
          'ON'
        ], ['content-md5', 'ndTkYSaMgDT1yFZOFVxnpg==']]
      }),
      head('u'),
      get('u'),
      ask('retention', { key: 'u' }),
      set('legal-hold', '<LegalHold><Status>OFF</Status></LegalHold>', { key: 'u' }),
      put('w', 'x', {
        headers: [['x-amz-object-lock-mode', 'abc'], ['x-amz-object-lock-retain-until-date', '2040-01-01T00:00:00Z'], [
          'content-md5',
          'ndTkYSaMgDT1yFZOFVxnpg=='
        ]]
      }),
      put('w', 'x', { headers: [['x-amz-object-lock-mode', 'GOVERNANCE'], ['content-md5', 'ndTkYSaMgDT1yFZOFVxnpg==']] }),
      put('w', 'x', { headers: [['x-amz-object-lock-mode', 'GOVERNANCE'], ['x-amz-object-lock-retain-until-date', '2040-01-01T00:00:00Z']] }),
      copy('{bucket:a}/u', 'uc', [['x-amz-object-lock-mode', 'GOVERNANCE'], ['x-amz-object-lock-retain-until-date', '2040-01-01T00:00:00Z']]),
      head('uc')
    ]
  },
  {
    name: 'object lock absent',
    buckets: ['a'],
    steps: [
      put('k'),
      ask('object-lock'),
      ask('retention', { key: 'k' }),
      ask('legal-hold', { key: 'k' }),
      set('object-lock', '<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>'),
      set('retention', '<Retention><Mode>GOVERNANCE</Mode><RetainUntilDate>2040-01-01T00:00:00Z</RetainUntilDate></Retention>', { key: 'k' }),
      set('legal-hold', '<LegalHold><Status>ON</Status></LegalHold>', { key: 'k' }),
      put('k', 'x', {
        headers: [['x-amz-object-lock-mode', 'GOVERNANCE'], ['x-amz-object-lock-retain-until-date', '2040-01-01T00:00:00Z'], [
          'content-md5',
          'ndTkYSaMgDT1yFZOFVxnpg=='
        ]]
      })
    ]
  }
]
