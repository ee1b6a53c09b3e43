import { Link } from 'react-router';
import { Empty } from '../ui/Empty';
import { useTitle } from '../ui/useTitle';

export default function NotFound() {
  useTitle('Not found');
  return (
    <Empty title="There is no page at this address">
      <Link to="/">Go to the catalogue</Link>
    </Empty>
  );
}
