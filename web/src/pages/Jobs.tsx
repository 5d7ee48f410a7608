export default function Jobs() { return <p>Jobs</p>; }
