import { usePolicy, useSettings } from '../../api/people';
import type { PolicyItem } from '../../api/types';
import { DataTable } from '../../ui/DataTable';
import { PageSkeleton } from '../../ui/PageSkeleton';
import { ProblemNote } from '../../ui/ProblemNote';
import { settingName, shownSetting } from './settingWords';

/** What holds for a person, and which group each of it comes from. */
export function PolicyTable({ userId }: { userId: string }) {
  const policy = usePolicy(userId);
  const settings = useSettings();
  if (policy.isError) return <ProblemNote error={policy.error} onRetry={() => void policy.refetch()} />;
  if (!policy.data) return <PageSkeleton />;
  const meaning = (name: string) => settings.data?.find((setting) => setting.name === name)?.meaning;
  return (
    <DataTable
      dense
      caption="Policy that holds"
      rows={policy.data}
      rowKey={(item) => item.setting}
      columns={[
        { label: 'Setting', render: (item) => <span title={meaning(item.setting)}>{settingName(item.setting)}</span> },
        { label: 'Value', render: (item) => shownSetting(item.setting, item.value) },
        { label: 'From', render: origin },
      ]}
    />
  );
}

/** The priority of Everyone, which comes after all that people give. */
const LAST = 1_000_000;

function origin(item: PolicyItem): string {
  if (item.source === 'account') return 'the account itself';
  if (!item.group) return 'default';
  return item.group.priority < LAST ? `${item.group.name} (${item.group.priority})` : item.group.name;
}
