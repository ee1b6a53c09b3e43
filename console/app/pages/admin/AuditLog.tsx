import { Button, Code, SimpleGrid, Stack, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { useState } from 'react';
import type { AuditFilter } from '../../api/client';
import { useAudit } from '../../api/people';
import type { AuditEntry } from '../../api/types';
import { DataTable } from '../../ui/DataTable';
import { Empty } from '../../ui/Empty';
import { Facts } from '../../ui/Facts';
import { PageHead } from '../../ui/PageHead';
import { PageSkeleton } from '../../ui/PageSkeleton';
import { ProblemNote } from '../../ui/ProblemNote';
import { ShowMore } from '../../ui/ShowMore';
import { SidePanel } from '../../ui/SidePanel';
import { When } from '../../ui/When';
import { instantOf } from '../../ui/time';
import { useTitle } from '../../ui/useTitle';

const filters = [
  { name: 'user', label: 'Who', placeholder: 'name or id' },
  { name: 'key', label: 'API key', placeholder: 'name or id' },
  { name: 'action', label: 'Action', placeholder: 'such as launch' },
  { name: 'target', label: 'Target', placeholder: 'name or id' },
  { name: 'outcome', label: 'Outcome', placeholder: 'such as refused' },
] as const;

const times = [
  { name: 'since', label: 'From', description: 'In your time zone' },
  { name: 'until', label: 'Until', description: 'Before this, and not at it' },
] as const;

/** As the fields have it: times are of this browser's zone. */
type Filter = Partial<Record<(typeof filters)[number]['name'] | (typeof times)[number]['name'], string>>;

/** As the server takes it. */
function wanted({ since, until, ...rest }: Filter): AuditFilter {
  const at = (local: string | undefined) => (local === undefined ? null : instantOf(local));
  const [from, to] = [at(since), at(until)];
  return { ...rest, ...(from === null ? {} : { since: from }), ...(to === null ? {} : { until: to }) };
}

export default function AuditLog() {
  useTitle('Audit log');
  const [filter, setFilter] = useState<Filter>({});
  const [asked] = useDebouncedValue(filter, 300);
  const audit = useAudit(wanted(asked));
  const items = audit.data?.pages.flatMap((page) => page.items) ?? [];
  const [shown, setShown] = useState<AuditEntry | null>(null);
  const [open, setOpen] = useState(false);
  const backwards = filter.since !== undefined && filter.until !== undefined && filter.until <= filter.since;
  const set = (name: keyof Filter, value: string) => {
    const others = Object.fromEntries(Object.entries(filter).filter(([other]) => other !== name)) as Filter;
    setFilter(value === '' ? others : { ...others, [name]: value });
  };
  return (
    <Stack>
      <PageHead title="Audit log">
        <Button variant="default" onClick={() => void audit.refetch()}>
          Refresh
        </Button>
      </PageHead>
      <SimpleGrid cols={{ base: 2, sm: 5 }}>
        {filters.map(({ name, label, placeholder }) => (
          <TextInput
            key={name}
            label={label}
            placeholder={placeholder}
            value={filter[name] ?? ''}
            onChange={(event) => set(name, event.currentTarget.value)}
          />
        ))}
      </SimpleGrid>
      <SimpleGrid cols={{ base: 1, xs: 2, lg: 5 }}>
        {times.map(({ name, label, description }) => (
          <TextInput
            key={name}
            type="datetime-local"
            // Years of more digits are no times to the server.
            max="9999-12-31T23:59"
            label={label}
            description={description}
            value={filter[name] ?? ''}
            onChange={(event) => set(name, event.currentTarget.value)}
            error={name === 'until' && backwards ? 'This is not after From.' : null}
          />
        ))}
      </SimpleGrid>
      {audit.isError && <ProblemNote error={audit.error} onRetry={() => void audit.refetch()} />}
      {audit.isPending && <PageSkeleton />}
      {audit.data && items.length === 0 && <Empty title="Nothing of that kind happened" />}
      {items.length > 0 && (
        <DataTable
          caption="Audit log"
          rows={items}
          rowKey={(entry) => String(entry.id)}
          columns={[
            { label: 'When', render: (entry) => <When at={entry.at} /> },
            { label: 'Who', render: (entry) => entry.user?.name ?? entry.node?.name ?? 'Meridian' },
            { label: 'API key', render: (entry) => entry.key?.name ?? '—' },
            { label: 'Action', render: (entry) => entry.action.replaceAll('_', ' ') },
            { label: 'Target', render: (entry) => entry.target || '—' },
            { label: 'Outcome', render: (entry) => entry.outcome.replaceAll('_', ' ') },
            {
              label: 'Details',
              render: (entry) => (
                <Button
                  size="compact-sm"
                  variant="light"
                  aria-label={`Show ${entry.action.replaceAll('_', ' ')} of ${entry.target || 'nothing'}`}
                  onClick={() => {
                    setShown(entry);
                    setOpen(true);
                  }}
                >
                  Show
                </Button>
              ),
            },
          ]}
        />
      )}
      <ShowMore list={audit} />
      <SidePanel opened={open} onClose={() => setOpen(false)} title={shown?.action.replaceAll('_', ' ')}>
        {shown && (
          <Stack>
            <Facts
              facts={[
                { name: 'When', value: shown.at },
                { name: 'Who', value: shown.user?.name ?? '—' },
                { name: 'API key', value: shown.key?.name ?? '—' },
                { name: 'Node', value: shown.node?.name ?? '—' },
                { name: 'Target', value: shown.target || '—' },
                { name: 'Outcome', value: shown.outcome },
                { name: 'Address', value: shown.address || '—' },
                { name: 'Request', value: shown.request_id || '—' },
              ]}
            />
            <Code block>{JSON.stringify(shown.detail, null, 2)}</Code>
          </Stack>
        )}
      </SidePanel>
    </Stack>
  );
}
