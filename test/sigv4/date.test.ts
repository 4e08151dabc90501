import t from 'tap'
import { formatIsoBasic, parseHttpDate, parseIsoBasic, parseIsoExtended } from '../../src/sigv4/date.ts'

const day = 86_400_000
const second = Date.UTC(2023, 0, 1, 0, 0, 59)
/** Every day of two years, one of them a leap year, each at another time of day. */
const dates = Array.from({ length: 731 }, (_, i) => new Date(second + i * day + i * 118_000))

await t.test('every day of two years, in all three formats', (t) => {
  for (const date of dates) {
    const iso = date.toISOString()
    const basic = `${iso.slice(0, 19).replace(/[-:]/g, '')}Z`
    const read = [
      parseHttpDate(date.toUTCString()),
      parseHttpDate(date.toUTCString().replace(/, 0/, ', ')),
      parseIsoBasic(basic),
      parseIsoExtended(iso),
      parseIsoExtended(`${iso.slice(0, 19)}Z`),
      parseIsoExtended(`${iso.slice(0, 19)}.1Z`),
      parseIsoExtended(`${iso.slice(0, 19)}.123456789Z`)
    ]
    if (!read.every((found) => found?.getTime() === date.getTime())) t.same(read, read.map(() => date))
    if (formatIsoBasic(date) !== basic) t.equal(formatIsoBasic(date), basic)
  }
  for (const zone of ['GMT', 'UTC', '+0000', '-0000']) t.same(parseHttpDate(`Fri, 24 May 2013 00:00:00 ${zone}`), new Date('2013-05-24T00:00:00Z'), zone)
  t.end()
})

/** The same moment in three formats. */
const formats = (
  year: string,
  month: string,
  name: string,
  date: string,
  time: string
): readonly (readonly [parse: (text: string) => unknown, text: string])[] => [
  [parseIsoBasic, `${year}${month}${date}T${time.replaceAll(':', '')}Z`],
  [parseIsoExtended, `${year}-${month}-${date}T${time}Z`],
  [parseHttpDate, `Fri, ${date} ${name} ${year} ${time} GMT`]
]

await t.test('malformed dates, and text around a date', (t) => {
  for (
    const [year, month, name, date, time] of [
      ['2013', '00', 'Mai', '24', '00:00:00'],
      ['2013', '13', 'may', '24', '00:00:00'],
      ['2013', '05', 'May', '00', '00:00:00'],
      ['2013', '05', 'May', '32', '00:00:00'],
      ['2013', '02', 'Feb', '29', '00:00:00'],
      ['2013', '05', 'May', '24', '24:00:00'],
      ['2013', '05', 'May', '24', '23:60:00'],
      ['2013', '05', 'May', '24', '23:59:60']
    ] as const
  ) for (const [parse, text] of formats(year, month, name, date, time)) t.equal(parse(text), undefined, text)
  for (const [parse, text] of formats('2013', '05', 'May', '24', '01:02:03')) {
    t.same(parse(text), new Date('2013-05-24T01:02:03Z'), text)
    for (
      const other of [`${text} `, ` ${text}`, `x${text}`, `${text}x`, `${text}\n`, text.slice(1), text.slice(0, -1), text.toLowerCase(), text.replace('3', '')]
    ) {
      t.equal(parse(other), undefined, JSON.stringify(other))
    }
  }
  for (const text of ['2013-05-24T01:02:03.Z', '2013-05-24T01:02:03.1234567890Z', '2013-05-24T01:02:03+00:00', '2013-05-24']) {
    t.equal(parseIsoExtended(text), undefined, text)
  }
  for (const text of ['Fry, 24 May 2013 00:00:00 GMT', 'Fri, 024 May 2013 00:00:00 GMT', 'Fri, 24 May 2013 00:00:00 +0100']) {
    t.equal(parseHttpDate(text), undefined, text)
  }
  t.end()
})
